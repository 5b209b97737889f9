import { Schema } from "effect"

/**
 * An argument lies outside the bounds that the contract states. It is found before the store is contacted, so nothing
 * has happened. `field` is the path of the argument, such as `items[3].message.id`; `problem` states the bound. The
 * value itself is not repeated: it could be an id or a body.
 */
export class InvalidArgument extends Schema.TaggedError<InvalidArgument>()(
  "InvalidArgument",
  { field: Schema.String, problem: Schema.String }
) {
  override get message(): string {
    return `${this.field} ${this.problem}`
  }
}
