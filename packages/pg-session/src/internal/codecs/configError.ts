/** What can be wrong with the names of types. */
import { Schema } from "effect"

/** A type that was asked for by name is not to be had. Nothing was changed. */
export class CodecConfigError extends Schema.TaggedError<CodecConfigError>()("CodecConfigError", {
  /** The name as it was given. */
  type: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `type ${this.type}: ${this.problem}`
  }
}
