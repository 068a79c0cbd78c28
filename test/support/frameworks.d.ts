/** What the tests use of frameworks that ship no types. */
declare module 'express' {
  import type { IncomingMessage, RequestListener } from 'node:http';
  type ExpressRequest = IncomingMessage & { readonly body: unknown };
  interface ExpressResponse {
    set(name: string, value: string): this;
    status(code: number): this;
    json(body: unknown): this;
    send(body: unknown): this;
  }
  type Handler = (request: ExpressRequest, response: ExpressResponse) => void;
  interface Express extends RequestListener {
    use(handler: unknown): this;
    get(path: string, handler: Handler): this;
    post(path: string, handler: Handler): this;
  }
  function express(): Express;
  namespace express {
    function text(): unknown;
    function json(): unknown;
  }
  export default express;
}

declare module 'koa' {
  import type { IncomingMessage, RequestListener } from 'node:http';
  interface KoaContext {
    readonly path: string;
    readonly req: IncomingMessage;
    body: unknown;
    set(name: string, value: string): void;
  }
  export default class Koa {
    use(middleware: (context: KoaContext) => unknown): this;
    callback(): RequestListener;
  }
}
