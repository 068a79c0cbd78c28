/** What inmesh says about itself. Nothing is logged per request; see `telemetry/` for that. */

export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

const nothing = (): void => undefined;

const write =
  (level: string) =>
  (message: string, fields?: LogFields): void => {
    process.stderr.write(`inmesh ${level}: ${message}${fields === undefined ? '' : ` ${JSON.stringify(fields)}`}\n`);
  };

/** The default: silent except warnings and errors, which go to standard error. */
export const quietLogger: Logger = { debug: nothing, info: nothing, warn: write('warning'), error: write('error') };

export const silentLogger: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing };
