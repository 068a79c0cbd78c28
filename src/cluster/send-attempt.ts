/** The innermost handler: hands the attempt to its endpoint's connection for the adapter that made the call. */
import type { Attempt } from '../core/call.ts';
import type { Clock } from '../core/clock.ts';
import { failure, FAILURES } from '../core/failure.ts';
import type { Handler } from '../core/handler.ts';
import type { Reply } from '../core/reply.ts';
import { failureReply } from '../core/reply.ts';

export function sendAttempt(clock: Clock): Handler<Attempt> {
  return {
    handle(attempt: Attempt): Promise<Reply> {
      const { call, endpoint } = attempt;
      if (attempt.cancelled !== undefined) return Promise.resolve(failureReply(attempt.cancelled));
      if (endpoint === undefined) {
        return Promise.resolve(failureReply(failure(FAILURES.noHealthyUpstream, 'no layer chose an endpoint for this attempt')));
      }
      attempt.begin(clock.now());
      return endpoint.connection(call.transport, call.head.scheme === 'https').send(attempt);
    },
  };
}
