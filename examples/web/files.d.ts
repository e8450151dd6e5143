/** The bundler copies such a file beside the page; what is imported is its address. */
declare module '*.gz' {
  const url: string;
  export default url;
}
