/**
 * The last good configuration on disk: what the control plane sent last, for a process that starts while it is down. Versioned, checksummed,
 * replaced by rename, readable by this user only. Secrets and resources with private keys in them are never written.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { open, rename, unlink } from 'node:fs/promises';
import type { Alarm, Clock, Timer } from '../core/clock.ts';
import { holdsEncodedKey } from '../core/key-marks.ts';
import type { Logger } from '../core/log.ts';
import { inSlices } from '../core/slices.ts';
import { TYPE_URLS } from '../config/resource.ts';
import type { ResourceKind } from '../config/resource.ts';
import type { CurrentResource } from './cache-entry.ts';
import type { SavedResource } from './cache.ts';
import { holdsKeys } from './field-lists.ts';
import { bytesOf } from './kept-bytes.ts';
import type { DecodeContext, ResourceType } from './resource-type.ts';

const FORMAT = 'inmesh last-good configuration';
const FORMAT_VERSION = 1;
/** After a change, so long to wait for the next: a configuration comes in several responses. */
const QUIET_MS = 1000;
/** Characters that are hashed and written at a time. */
const CHUNK = 65_536;

interface Header {
  readonly format: string;
  readonly version: number;
  /** What must be equal for the file to be used: control planes and node id. */
  readonly identity: string;
  /** Wall time in ms. */
  readonly savedAt: number;
  readonly resources: number;
  /** Of all that follows the first line. */
  readonly sha256: string;
}

export interface LastGoodOptions {
  readonly path: string;
  readonly identity: string;
  readonly types: readonly ResourceType[];
  readonly context: Omit<DecodeContext, 'unsupported'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** What has a value now. */
  readonly current: () => Iterable<CurrentResource>;
}

interface Stored {
  readonly version: string;
  readonly raw: Uint8Array;
}

export class LastGoodFile implements Alarm {
  readonly path: string;
  /** Wall time in ms when the file that was read had been written; undefined: there was none that can be used. */
  readonly savedAt: number | undefined;
  readonly #options: LastGoodOptions;
  readonly #stored: ReadonlyMap<string, Stored>;
  #timer: Timer | undefined;
  #writing: Promise<void> | undefined;
  #due = false;
  #broken = false;

  /** Reads the file, if there is one. One that cannot be used is reported and left alone until the next good configuration. */
  constructor(options: LastGoodOptions) {
    this.#options = options;
    this.path = options.path;
    const read = readFile(options);
    this.savedAt = read?.savedAt;
    this.#stored = read?.resources ?? new Map();
  }

  get size(): number {
    return this.#stored.size;
  }

  /** A saved resource, decoded now; undefined when there is none, or when this version of inmesh rejects it. */
  get(kind: ResourceKind, name: string): SavedResource | undefined {
    const stored = this.#stored.get(`${kind} ${name}`);
    const type = this.#options.types.find((candidate) => candidate.kind === kind);
    if (stored === undefined || type === undefined) return undefined;
    const decoded = type.decode(stored.raw, { ...this.#options.context, unsupported: () => undefined });
    return decoded.ok ? { raw: stored.raw, version: stored.version, value: decoded.value } : undefined;
  }

  /** Saved names of a type, for what is subscribed whole. */
  names(kind: ResourceKind): readonly string[] {
    return [...this.#stored.keys()].filter((id) => id.startsWith(`${kind} `)).map((id) => id.slice(kind.length + 1));
  }

  /** The control plane said something new: it is written soon. */
  changed(): void {
    this.#timer ??= this.#options.clock.set(this, QUIET_MS, true);
  }

  onAlarm(): void {
    this.#timer = undefined;
    this.#due = true;
    this.#writing ??= this.#writeAll();
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    if (this.#timer !== undefined) {
      this.#options.clock.clear(this.#timer);
      this.onAlarm();
    }
    await this.#writing;
  }

  /** Where writing takes long, what changed meanwhile is written once, however often. */
  async #writeAll(): Promise<void> {
    while (this.#due) {
      this.#due = false;
      await this.#write();
    }
    this.#writing = undefined;
  }

  async #write(): Promise<void> {
    const { path, identity, clock, log, current } = this.#options;
    // Of one moment: an old listener must not be saved with newer clusters.
    const { count, sha256, chunks } = await inSlices(bodyOf(Array.from(current())), clock);
    if (count === 0) return;
    const header: Header = {
      format: FORMAT,
      version: FORMAT_VERSION,
      identity,
      savedAt: clock.wallTime(),
      resources: count,
      sha256,
    };
    const temporary = `${path}.${process.pid}.new`;
    try {
      const file = await open(temporary, 'w', 0o600);
      try {
        await file.writeFile([Buffer.from(`${JSON.stringify(header)}\n`), ...chunks]);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
      this.#broken = false;
    } catch (error) {
      await unlink(temporary).catch(() => undefined);
      if (!this.#broken) log.warn('the last-good file cannot be written', { path, error: String(error) });
      this.#broken = true;
    }
  }
}

interface Body {
  readonly count: number;
  readonly sha256: string;
  readonly chunks: readonly Buffer[];
}

/** All that follows the header, a line for each resource. Yields between them: a hundred thousand are more than half a second of work. */
function* bodyOf(resources: readonly CurrentResource[]): Generator<undefined, Body> {
  const hash = createHash('sha256');
  const chunks: Buffer[] = [];
  let lines = '';
  let count = 0;
  const flush = (): void => {
    const chunk = Buffer.from(lines);
    lines = '';
    hash.update(chunk);
    chunks.push(chunk);
  };
  for (const { kind, name, version, kept, unsupported } of resources) {
    yield undefined;
    if (kind === 'secret' || holdsKeys(unsupported)) continue;
    const { buffer, byteOffset, byteLength } = bytesOf(kept);
    const raw = Buffer.from(buffer, byteOffset, byteLength);
    if (raw.includes('PRIVATE KEY') || holdsEncodedKey(raw)) continue;
    lines += `${JSON.stringify([kind, name, version, raw.toString('base64')])}\n`;
    count++;
    if (lines.length >= CHUNK) flush();
  }
  flush();
  return { count, sha256: hash.digest('hex'), chunks };
}

function readFile(options: LastGoodOptions): { readonly savedAt: number; readonly resources: Map<string, Stored> } | undefined {
  const { path, identity, log } = options;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') log.warn('the last-good file cannot be read', { path, error: String(error) });
    return undefined;
  }
  const end = text.indexOf('\n');
  const problem = (reason: string): undefined => {
    log.warn('the last-good file is not used', { path, reason });
  };
  let header: Partial<Header>;
  try {
    // What is no object has none of these.
    header = Object(JSON.parse(text.slice(0, end))) as Partial<Header>;
  } catch {
    return problem('its first line is not a header');
  }
  if (header.format !== FORMAT) return problem('it is another kind of file');
  if (header.version !== FORMAT_VERSION) return problem(`it has format version ${header.version}, this inmesh reads ${FORMAT_VERSION}`);
  if (header.identity !== identity) return problem('it is of another node or control plane');
  const body = text.slice(end + 1);
  if (createHash('sha256').update(body).digest('hex') !== header.sha256) return problem('its checksum is wrong');
  const resources = new Map<string, Stored>();
  for (const line of body.split('\n')) {
    if (line === '') continue;
    const [kind, name, version, raw] = JSON.parse(line) as readonly [string, string, string, string];
    if (Object.hasOwn(TYPE_URLS, kind)) resources.set(`${kind} ${name}`, { version, raw: Buffer.from(raw, 'base64') });
  }
  return { savedAt: header.savedAt ?? 0, resources };
}
