/**
 * Types whose binary form is their text behind the byte of a version: `jsonpath`, and the types of the extension ltree.
 * The server parses what it is sent and refuses what does not fit, and its text may differ: `$.a` is read as `$."a"`.
 */
import type { PgTypes } from "../../driver.ts"
import { codec, refuse } from "../bytes.ts"
import * as input from "./input.ts"

export const versionedText = (name: string): PgTypes.Codec<unknown> =>
  codec<unknown>(
    name,
    (reader) => {
      if (reader.uint8() !== 1) refuse(`${name}: a form of another version than 1`)
      return reader.utf8()
    },
    (writer, value) => writer.uint8(1).utf8(input.text(value, name))
  )
