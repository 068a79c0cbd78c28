/**
 * Runs inside of a network namespace that has only the loopback device: starts a program that listens on all addresses, and relays
 * connections of a Unix socket to a port of it. Arguments: SOCKET PORT COMMAND [ARGUMENT...]. Ends with the program, which ends with it.
 */
import { execFileSync, spawn } from 'node:child_process';
import { connect, createServer } from 'node:net';

const [socket, port, ...command] = process.argv.slice(2);
execFileSync('ip', ['link', 'set', 'lo', 'up']);
const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], { stdio: 'inherit' });
child.once('exit', (code) => process.exit(code ?? 1));
createServer((near) => {
  const far = connect(Number(port), '127.0.0.1');
  near.pipe(far).pipe(near);
  near.on('error', () => far.destroy());
  far.on('error', () => near.destroy());
}).listen(socket);
