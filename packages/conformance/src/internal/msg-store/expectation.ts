/**
 * What a case expects, compared and printed. It belongs to no test runner: an unmet expectation is thrown as a value that
 * a person can read, and the case that threw it turns it into its typed failure.
 *
 * Values are compared by what they contain: bytes one by one whatever the class of the array, `Option` and `Result` by
 * their content, errors by tag and fields (not by text or stack), records by their own enumerable keys. A key that is
 * absent differs from one that is `undefined`, because the contract says "exactly".
 */
import { Effect, Option, Predicate, Result } from "effect"

/** Something that a case expected did not come. The message says what was looked at, what was expected and what came. */
class Unmet extends Error {
  override readonly name = "Unmet"
}

/** Throws `Unmet` with this explanation. */
export const unmet = (explanation: string): never => {
  throw new Unmet(explanation)
}

const isRecord = (value: unknown): value is Record<string, unknown> => Predicate.isObject(value)

/** The part of a value that counts, with `Option`, `Result` and errors as plain records. */
const content = (value: unknown): unknown => {
  if (Option.isOption(value)) return Option.isSome(value) ? { some: value.value } : "none"
  if (Result.isResult(value)) {
    return Result.isSuccess(value) ? { success: value.success } : { failure: value.failure }
  }
  if (value instanceof Error && !("_tag" in value)) return { error: value.name, message: value.message }
  return value
}

/** A value as a person writes it. Long bodies are cut. */
export const print = (input: unknown): string => {
  const value = content(input)
  if (typeof value === "bigint") return `${value}n`
  if (typeof value === "string") return value === "none" ? "none" : JSON.stringify(value)
  if (value instanceof Uint8Array) {
    const shown = Array.from(value.subarray(0, 12), (byte) => byte.toString(16).padStart(2, "0")).join(" ")
    return `<${value.length} bytes${shown === "" ? "" : `: ${shown}`}${value.length > 12 ? " ..." : ""}>`
  }
  if (Array.isArray(value)) return `[${value.map(print).join(", ")}]`
  if (isRecord(value)) {
    const { _tag, ...fields } = value
    const text = Object.keys(fields).toSorted().map((key) => `${key}: ${print(fields[key])}`).join(", ")
    if (typeof _tag === "string") return text === "" ? _tag : `${_tag}(${text})`
    return `{ ${text} }`
  }
  return String(value)
}

/** Where two values differ first, as a path such as `.body[3]`; `undefined` if they do not. */
export const difference = (actualInput: unknown, expectedInput: unknown, path = ""): string | undefined => {
  const actual = content(actualInput)
  const expected = content(expectedInput)
  const here = path === "" ? "the value itself" : path
  if (actual instanceof Uint8Array || expected instanceof Uint8Array) {
    if (!(actual instanceof Uint8Array && expected instanceof Uint8Array)) return here
    if (actual.length !== expected.length) return `${path}.length`
    for (let i = 0; i < actual.length; i++) {
      if (actual[i] !== expected[i]) return `${path}[${i}]`
    }
    return undefined
  }
  if (Array.isArray(actual) || Array.isArray(expected)) {
    if (!(Array.isArray(actual) && Array.isArray(expected))) return here
    for (let i = 0; i < Math.min(actual.length, expected.length); i++) {
      const found = difference(actual[i], expected[i], `${path}[${i}]`)
      if (found !== undefined) return found
    }
    return actual.length === expected.length ? undefined : `${path}.length`
  }
  if (isRecord(actual) && isRecord(expected)) {
    for (const key of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
      if (!Object.hasOwn(actual, key) || !Object.hasOwn(expected, key)) return `${path}.${key}`
      const found = difference(actual[key], expected[key], `${path}.${key}`)
      if (found !== undefined) return found
    }
    return undefined
  }
  return Object.is(actual, expected) ? undefined : here
}

/** The two values are the same by content. */
export const same = (what: string, actual: unknown, expected: unknown): void => {
  const where = difference(actual, expected)
  if (where === undefined) return
  unmet(`${what}\n  expected: ${print(expected)}\n  actual:   ${print(actual)}\n  first difference: ${where}`)
}

/** A condition holds; `detail` is what a person needs to see if it does not. */
export const holds = (what: string, condition: boolean, detail?: unknown): void => {
  if (!condition) {
    unmet(`${what}\n  expected: true\n  actual:   false${detail === undefined ? "" : `, for ${print(detail)}`}`)
  }
}

/** The same elements, each as often, in any order. Prints what is missing and what is extra. */
export const sameElements = (what: string, actual: ReadonlyArray<unknown>, expected: ReadonlyArray<unknown>): void => {
  const extra = actual.map(print)
  const missing: Array<string> = []
  for (const element of expected.map(print)) {
    const found = extra.indexOf(element)
    if (found === -1) missing.push(element)
    else extra.splice(found, 1)
  }
  if (missing.length === 0 && extra.length === 0) return
  unmet(`${what}\n  missing: [${missing.join(", ")}]\n  extra:   [${extra.join(", ")}]`)
}

/** The tag of a failure, or a word for what is none. */
export const tagOf = (failure: unknown): string =>
  Predicate.hasProperty(failure, "_tag") ? String(failure._tag) : "no failure of the contract"

/** The argument that an `InvalidArgument` names. */
export const fieldOf = (failure: unknown): unknown =>
  Predicate.hasProperty(failure, "field") ? failure.field : undefined

/** The effect fails with this tag and these fields. */
export const failsWith = <A, E, R>(
  what: string,
  effect: Effect.Effect<A, E, R>,
  expected: { readonly _tag: string } & Record<string, unknown>
): Effect.Effect<void, never, R> =>
  Effect.map(Effect.result(effect), (result) => same(what, result, Result.fail(expected)))

/** The effect fails with this tag. For errors of which the contract does not fix the fields. */
export const failsWithTag = <A, E, R>(
  what: string,
  effect: Effect.Effect<A, E, R>,
  tag: string
): Effect.Effect<E, never, R> =>
  Effect.map(Effect.result(effect), (result) =>
    Result.isFailure(result) && Predicate.isTagged(result.failure, tag)
      ? result.failure
      : unmet(`${what}\n  expected: failure ${tag}\n  actual:   ${print(result)}`))
