/**
 * JSON of untrusted files. JSON.parse keeps the last of two equal keys and says nothing, so a file can show one tensor to one reader and
 * another to the next; and a hundred megabytes of `[],[],…` become gigabytes of objects. Here a scan in front of it, one pass over the
 * text, refuses equal keys in one object, deep nesting and too many values.
 *
 *   strictJson(Buffer.from('{"a": 1, "\\u0061": 2}'))   // throws: the key "a" stands there twice
 */

import { quoted } from './shown.ts';

/** Deepest nesting: a header of safetensors has three levels, a configuration of a model a few more. */
const deepest = 16;
/** Values in one text: an entry of a header of safetensors is some ten, so there is room for 100,000 tensors. */
const mostValues = 1_000_000;

/** The end of the string literal that starts at `at`: the index after its closing quote. */
const stringEnd = (text: string, at: number): number => {
  for (let i = at + 1; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x5c) i++;
    else if (c === 0x22) return i + 1;
  }
  throw new Error('it is not JSON');
};

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error('it is not JSON');
  }
};

/** Equal keys, depth and number of values. Texts that are not JSON may pass; JSON.parse, which runs next, refuses them. */
const scan = (text: string): void => {
  // the keys of every open object; undefined for an array
  const open: (Set<string> | undefined)[] = [];
  let values = 0;
  const count = (): void => {
    if (++values > mostValues) throw new Error(`it holds more than ${mostValues} values`);
  };
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '{' || c === '[') {
      count();
      open.push(c === '{' ? new Set() : undefined);
      if (open.length > deepest) throw new Error(`it is nested more than ${deepest} deep`);
    } else if (c === '}' || c === ']') open.pop();
    else if (c === ',') count();
    else if (c === '"') {
      const end = stringEnd(text, i);
      let next = end;
      while (next < text.length && ' \t\n\r'.includes(text[next] as string)) next++;
      const keys = open.at(-1);
      if (keys && text[next] === ':') {
        const key = parse(text.slice(i, end)) as string;
        if (keys.has(key)) throw new Error(`the key ${quoted(key)} stands there twice`);
        keys.add(key);
      }
      i = end - 1;
    }
  }
};

/** Decodes and parses. Throws an Error whose message says, of "it", what is wrong. */
export const strictJson = (bytes: Uint8Array): unknown => {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Error('it is not UTF-8');
  }
  scan(text);
  return parse(text);
};
