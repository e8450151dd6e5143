/**
 * Notices that a process of the job has died. MPI does not say so: whoever waits for a dead rank waits for ever, unless the launcher ends the
 * job, which some do and some do not. Here every rank holds a connection to rank 0. The system closes a dead process's connections at once, busy
 * or not, so everybody learns within moments who died, or why a rank gave up, and can say so before it ends.
 *
 *   const w = await watch(world);          // all ranks together
 *   w.failure()                            // undefined, or 'rank 1 (process 4711 on node3) ended without a word'
 *
 * Who cannot be reached (a firewall between hosts) is not watched; `unwatched` lists them.
 */
import { randomBytes } from 'node:crypto';
import { createServer, connect as open, type Socket } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';

/** What ranks need of each other before they are connected. */
interface Peers {
  readonly rank: number;
  readonly size: number;
  exchange(text: string): Promise<readonly string[]>;
}

export interface Watch {
  /** What happened to the job, if anything did. */
  failure(): string | undefined;
  /** Tells all ranks that this one gives up, and why. */
  tell(reason: string): void;
  /** Ranks that are connected to nobody. */
  readonly unwatched: readonly number[];
  /** This rank may end from here on, and needs no other any more. */
  close(): void;
}

type Message =
  | { readonly hello: number; readonly token: string; readonly name: string }
  | { readonly failed: string }
  | { readonly bye: true };

const patience = 5000; // milliseconds to connect

/** One message a line. What is no message closes the connection. */
const listen = (socket: Socket, heard: (m: Message) => void): void => {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() as string;
    for (const line of lines) {
      if (socket.destroyed) return;
      try {
        heard(JSON.parse(line) as Message);
      } catch {
        socket.destroy();
      }
    }
    if (rest.length > 1 << 16) socket.destroy();
  });
  socket.on('error', () => {}); // it is followed by 'close'
  socket.setNoDelay(true);
  socket.setKeepAlive(true, patience);
};
const say = (socket: Socket, m: Message): void => {
  if (!socket.destroyed) socket.write(`${JSON.stringify(m)}\n`);
};

/** The first connection that stands, to any of the addresses. */
const reach = async (hosts: readonly string[], port: number): Promise<Socket | undefined> => {
  for (const host of hosts) {
    const socket = await new Promise<Socket | undefined>((resolve) => {
      const s = open({ host, port });
      const give = (x: Socket | undefined) => (): void => {
        clearTimeout(late);
        if (!x) s.destroy();
        resolve(x);
      };
      const late = setTimeout(give(undefined), patience / Math.max(1, hosts.length));
      s.once('connect', give(s)).once('error', give(undefined));
    });
    if (socket) return socket;
  }
  return undefined;
};

/** Where this machine is reached from others. */
const addresses = (): readonly string[] =>
  Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter((a) => !a.internal && !a.address.startsWith('fe80'))
    .map((a) => a.address);

export const watch = async ({ rank, size, exchange }: Peers): Promise<Watch> => {
  let failed: string | undefined;
  let closing = false;
  const sockets = new Map<number, Socket>();
  const names = new Map<number, string>([[0, '']]);
  const fail = (reason: string): void => {
    if (failed !== undefined || closing) return;
    failed = reason;
    for (const s of sockets.values()) say(s, { failed: reason });
  };
  const parted = new Set<number>();
  const gone = (r: number) => (): void => {
    if (!parted.has(r)) fail(`rank ${r}${names.get(r) ?? ''} ended without a word`);
  };
  const me = ` (process ${process.pid} on ${hostname()})`;
  const keep = (r: number, socket: Socket): void => {
    sockets.set(r, socket);
    socket.on('close', gone(r));
    socket.unref();
  };

  const token = randomBytes(16).toString('hex');
  const server = createServer();
  let port = 0;
  if (rank === 0) {
    server.on('connection', (socket) => {
      let told = -1;
      listen(socket, (m) => {
        if (told >= 0) {
          if ('failed' in m) fail(m.failed);
          if ('bye' in m) parted.add(told);
          return;
        }
        // anybody can connect: who does not begin with the job's token is not heard
        if (!('hello' in m) || m.token !== token) return socket.destroy();
        told = m.hello;
        names.set(told, m.name);
        keep(told, socket);
      });
    });
    await new Promise<void>((resolve) => server.once('error', () => resolve()).listen(0, () => resolve()));
    const bound = server.address();
    port = bound && typeof bound === 'object' ? bound.port : 0;
  }
  const [offer = '{}'] = await exchange(
    rank === 0 ? JSON.stringify({ port, token, host: hostname(), addresses: addresses(), name: me }) : '',
  );
  const hub = JSON.parse(offer) as { port: number; token: string; host: string; addresses: readonly string[]; name: string };
  names.set(0, hub.name);
  if (rank > 0 && hub.port > 0) {
    const socket = await reach(hub.host === hostname() ? ['localhost', ...hub.addresses] : [...hub.addresses, hub.host], hub.port);
    if (socket) {
      listen(socket, (m) => {
        if ('failed' in m) fail(m.failed);
        if ('bye' in m) parted.add(0);
      });
      keep(0, socket);
      say(socket, { hello: rank, token: hub.token, name: me });
    }
  }
  const connected = await exchange(rank === 0 || sockets.has(0) ? 'yes' : 'no');
  if (rank === 0) {
    // the hello of a connection that stands is on its way
    const awaited = connected.filter((x) => x === 'yes').length - 1;
    for (const until = performance.now() + patience; sockets.size < awaited && performance.now() < until; )
      await new Promise((r) => setTimeout(r, 1));
    server.close();
    server.unref();
  }
  return {
    failure: () => failed,
    tell: (reason) => fail(`rank ${rank}${me} gave up: ${reason}`),
    unwatched: Array.from({ length: size }, (_, r) => r).filter((r) => connected[r] !== 'yes'),
    close: () => {
      closing = true;
      for (const s of sockets.values()) s.end(`${JSON.stringify({ bye: true } satisfies Message)}\n`);
    },
  };
};
