/** Types of grpc-js that it does not export by name, reached through those that it does (gRFC L32 entry points only). */
import type { ChannelInterface } from '@grpc/grpc-js';

/** A call as grpc-js's surface drives it. */
export type WireCall = ReturnType<ChannelInterface['createCall']>;
export type WireListener = Parameters<WireCall['start']>[1];
export type WireContext = Parameters<WireCall['sendMessageWithContext']>[0];
export type WireDeadline = Parameters<ChannelInterface['createCall']>[1];
export type WireParent = Parameters<ChannelInterface['createCall']>[3];
export type AuthContext = NonNullable<ReturnType<WireCall['getAuthContext']>>;
