/**
 * Case 38, and the extensions of case 40: for every type the server must read from our bytes what it reads from a literal
 * that is written here by hand, and we must read from its bytes what was sent. Random values come from a seed that every
 * failure names; `PG_CODECS_SEED` repeats a run.
 */
import { PgClient, PgTypes } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import * as PgBitString from "@restante/pg-session/PgBitString"
import * as PgCodecs from "@restante/pg-session/PgCodecs"
import type * as PgGeometry from "@restante/pg-session/PgGeometry"
import * as PgLsn from "@restante/pg-session/PgLsn"
import * as PgRange from "@restante/pg-session/PgRange"
import * as PgTextSearch from "@restante/pg-session/PgTextSearch"
import { Effect, Predicate, Result } from "effect"
import * as PostgresDatabase from "./PostgresDatabase.ts"

const url = await PostgresDatabase.open()

// ---------------------------------------------------------------------------------------------------------------------
// Random values
// ---------------------------------------------------------------------------------------------------------------------

const seed = Number(process.env["PG_CODECS_SEED"] ?? Math.floor(Math.random() * 2 ** 32))

/** Mulberry32. */
class Random {
  private state: number
  constructor(state: number) {
    this.state = state
  }
  /** From 0 up to 1. */
  next(): number {
    this.state = this.state + 0x6d2b79f5 | 0
    let mixed = Math.imul(this.state ^ this.state >>> 15, 1 | this.state)
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32
  }
  integer(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1))
  }
  uint64(): bigint {
    return BigInt(this.integer(0, 0xffff_ffff)) << 32n | BigInt(this.integer(0, 0xffff_ffff))
  }
  bigint(least: bigint, most: bigint): bigint {
    return least + this.uint64() % (most - least + 1n)
  }
  chance(probability: number): boolean {
    return this.next() < probability
  }
  pick<A>(choices: readonly [A, ...ReadonlyArray<A>]): A {
    return choices[this.integer(0, choices.length - 1)] ?? choices[0]
  }
  list<A>(length: number, element: () => A): ReadonlyArray<A> {
    return Array.from({ length }, element)
  }
  /** Any bits that are a float8, or a small number. */
  float(): number {
    return this.chance(0.5)
      ? this.integer(-1000, 1000) / 8
      : new Float64Array(new BigUint64Array([this.uint64()]).buffer)[0] ?? 0
  }
  /** Text with all that is special somewhere. */
  text(least: number, most: number): string {
    const character = () =>
      this.pick([
        "a",
        "b",
        "Z",
        "0",
        " ",
        "'",
        "\"",
        "\\",
        ":",
        "*",
        ",",
        "&",
        "|",
        "!",
        "(",
        "=>",
        "ä",
        "€",
        "𝄞",
        "\n",
        "\t"
      ])
    return this.list(this.integer(least, most), character).join("")
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Types, and their values with literals written without the codecs
// ---------------------------------------------------------------------------------------------------------------------

interface Sample {
  readonly value: unknown
  readonly literal: string
  /** What is read back, where the server keeps another value than the one sent. */
  readonly read?: unknown
}

interface Kind {
  readonly type: string
  readonly samples: ReadonlyArray<Sample>
  readonly random: (random: Random) => Sample
  /** Values that must not be sent. */
  readonly refused: ReadonlyArray<unknown>
}

const sample = (value: unknown, literal: string, read = value): Sample => ({ value, literal, read })

const sized = (size: number, text: string): string => text.padStart(size, "0")

// ---- numbers and addresses

const mac = (type: string, bytes: number): Kind => ({
  type,
  samples: [
    sample("00:".repeat(bytes).slice(0, -1), "00".repeat(bytes)),
    sample("ff:".repeat(bytes).slice(0, -1), "FF".repeat(bytes)),
    sample("AB:".repeat(bytes).slice(0, -1), "ab".repeat(bytes), "ab:".repeat(bytes).slice(0, -1))
  ],
  random: (random) => {
    const hex = random.list(bytes, () => sized(2, random.integer(0, 255).toString(16)))
    return sample(hex.join(":"), hex.join("-"))
  },
  refused: [
    "",
    "00:".repeat(bytes),
    "00-".repeat(bytes).slice(0, -1),
    "0g:".repeat(bytes).slice(0, -1),
    1,
    null,
    undefined
  ]
})

const bits = (type: string): Kind => ({
  type,
  samples: [
    sample("1", "1"),
    sample("0", "0"),
    sample("10101010", "10101010"),
    sample("101010101", "101010101"),
    sample("1".repeat(10_001), "1".repeat(10_001)),
    ...(type === "varbit" ? [sample("", "")] : [])
  ],
  random: (random) => {
    const text = random.list(random.integer(1, 100), () => random.pick(["0", "1"])).join("")
    return sample(text, `B${text}`)
  },
  refused: ["2", "0b1", "1 ", " 1", "1\n", "101010101x", "1e1", "-1", "+1", 1, true, [1]]
})

const unsigned32 = (type: string, literal: (value: number) => string = String): Kind => ({
  type,
  samples: [0, 1, 23, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff].map((value) => sample(value, literal(value))),
  random: (random) => {
    const value = random.integer(0, 0xffff_ffff)
    return sample(value, literal(value))
  },
  refused: [-1, 0x1_0000_0000, 1.5, Number.NaN, 1n, "1", "int4"]
})

const unsigned64 = (type: string, literal: (value: bigint) => string): Kind => ({
  type,
  samples: [0n, 1n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n].map((value) => sample(value, literal(value))),
  random: (random) => {
    const value = random.uint64()
    return sample(value, literal(value))
  },
  refused: [-1n, 2n ** 64n, 1, "0/0"]
})

const moneyText = (value: bigint): string => {
  const digits = sized(3, String(value < 0n ? -value : value))
  return `${value < 0n ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`
}

const money: Kind = {
  type: "money",
  samples: [0n, 1n, -1n, 123_456n, 2n ** 63n - 1n, -(2n ** 63n)].map((value) => sample(value, moneyText(value))),
  random: (random) => {
    const value = BigInt.asIntN(64, random.uint64())
    return sample(value, moneyText(value))
  },
  refused: [1, "1.00", 2n ** 63n, -(2n ** 63n) - 1n]
}

const lsnText = (value: bigint): string =>
  `${(value >> 32n).toString(16).toUpperCase()}/${(value & 0xffff_ffffn).toString(16).toUpperCase()}`

const tid: Kind = {
  type: "tid",
  samples: [
    sample({ block: 0, offset: 0 }, "(0,0)"),
    sample({ block: 0xffff_ffff, offset: 0xffff }, "(4294967295,65535)")
  ],
  random: (random) => {
    const value = { block: random.integer(0, 0xffff_ffff), offset: random.integer(0, 0xffff) }
    return sample(value, `(${value.block},${value.offset})`)
  },
  refused: [{ block: -1, offset: 0 }, { block: 0, offset: 65_536 }, { block: 0 }, "(0,0)", [0, 0]]
}

// ---- geometry

const number = (value: number): string => Object.is(value, -0) ? "-0" : String(value)

const pointText = ({ x, y }: PgGeometry.Point): string => `(${number(x)},${number(y)})`

const at = (x: number, y: number): PgGeometry.Point => ({ x, y })

const extremePoints: ReadonlyArray<PgGeometry.Point> = [
  at(0, -0),
  at(Number.MAX_VALUE, -Number.MAX_VALUE),
  at(Number.MIN_VALUE, 0.1),
  at(Infinity, -Infinity),
  at(Number.NaN, 1)
]

const randomPoint = (random: Random): PgGeometry.Point => at(random.float(), random.float())

const pointKind = (
  type: string,
  ofPoints: (points: ReadonlyArray<PgGeometry.Point>, random: Random) => Sample,
  [least, most]: readonly [number, number],
  refused: ReadonlyArray<unknown>
): Kind => ({
  type,
  samples: least === 1 && most > 1
    ? [...extremePoints.map((point) => ofPoints([point], new Random(1))), ofPoints(extremePoints, new Random(2))]
    : extremePoints.map((point) => ofPoints(Array.from({ length: least }, () => point), new Random(3))),
  random: (random) => ofPoints(random.list(random.integer(least, most), () => randomPoint(random)), random),
  refused: [...refused, {}, [], "(0,0)", 1]
})

const joined = (points: ReadonlyArray<PgGeometry.Point>): string => points.map(pointText).join(",")

const origin = at(0, 0)

const larger = (left: number, right: number): number => Number.isNaN(left) || left > right ? left : right
const smaller = (left: number, right: number): number => Number.isNaN(left) || left > right ? right : left

const geometry: ReadonlyArray<Kind> = [
  pointKind("point", ([point = origin]) => sample(point, pointText(point)), [1, 1], [{ x: 1 }, { x: "1", y: 2 }, [
    1,
    2
  ]]),
  pointKind(
    "lseg",
    ([start = origin, end = origin]) => sample({ start, end }, `[${joined([start, end])}]`),
    [2, 2],
    [{ start: origin }, { start: origin, end: { x: 1 } }]
  ),
  pointKind(
    "path",
    (points, random) => {
      const open = random.chance(0.5)
      return sample({ open, points }, open ? `[${joined(points)}]` : `(${joined(points)})`)
    },
    [1, 20],
    [{ open: true, points: [] }, { points: [origin] }, { open: 1, points: [origin] }, { open: true, points: [1] }]
  ),
  pointKind(
    "box",
    ([one = origin, other = origin]) =>
      sample({ high: one, low: other }, joined([one, other]), {
        high: at(larger(one.x, other.x), larger(one.y, other.y)),
        low: at(smaller(one.x, other.x), smaller(one.y, other.y))
      }),
    [2, 2],
    [{ high: origin }, { high: 1, low: 2 }]
  ),
  pointKind(
    "polygon",
    (points) => sample({ points }, `(${joined(points)})`),
    [1, 20],
    [{ points: [] }, { points: "x" }, [origin]]
  ),
  pointKind(
    "circle",
    ([center = origin], random) => {
      const radius = random.pick([0, 1.5, Infinity, Number.MAX_VALUE, random.integer(0, 1000) / 8])
      return sample({ center, radius }, `<${pointText(center)},${number(radius)}>`)
    },
    [1, 1],
    [{ center: origin, radius: -1 }, { center: origin }, { radius: 1 }]
  ),
  {
    type: "line",
    samples: [
      sample({ a: 1, b: 0, c: 0 }, "{1,0,0}"),
      sample({ a: 0, b: -1e-5, c: Number.MAX_VALUE }, `{0,-1e-5,${Number.MAX_VALUE}}`),
      sample({ a: Infinity, b: Number.NaN, c: -Infinity }, "{Infinity,NaN,-Infinity}")
    ],
    random: (random) => {
      const value = { a: random.float(), b: random.integer(1, 100), c: random.float() }
      return sample(value, `{${number(value.a)},${value.b},${number(value.c)}}`)
    },
    refused: [{ a: 0, b: 0, c: 1 }, { a: 1e-6, b: -1e-7, c: 1 }, { a: 1, b: 1 }, { a: "1", b: 1, c: 1 }, "{1,1,1}"]
  }
]

// ---- text search

const quoted = (word: string): string => `'${word.replaceAll(/['\\]/g, "$&$&")}'`

const lexemesText = (vector: PgTextSearch.TsVector): string =>
  vector.map(({ positions, word }) => {
    const places = positions.map(({ position, weight }) => `${position}${weight}`).join(",")
    return places === "" ? quoted(word) : `${quoted(word)}:${places}`
  }).join(" ")

const weightChoices = ["A", "B", "C", "D"] as const

const manyPositions = Array.from({ length: 256 }, (_, index) => ({ position: index + 1, weight: "D" as const }))
const lexeme = (word: string, ...positions: ReadonlyArray<number>): PgTextSearch.Lexeme => ({
  word,
  positions: positions.map((position) => ({ position, weight: "A" }))
})

const tsvector: Kind = {
  type: "tsvector",
  samples: [
    sample([], ""),
    sample([lexeme("a")], "a"),
    sample([lexeme("b", 16_383), lexeme("a", 1)], "a:1A b:16383A", [lexeme("a", 1), lexeme("b", 16_383)]),
    sample([{ word: "x", positions: manyPositions }], `x:${manyPositions.map(({ position }) => position).join(",")}`),
    sample([lexeme("w".repeat(2046), 7)], `${"w".repeat(2046)}:7A`)
  ],
  random: (random) => {
    const words = new Set(random.list(random.integer(0, 12), () => random.text(1, 12)))
    const value = Array.from(words)
      .toSorted((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)))
      .map((word): PgTextSearch.Lexeme => {
        const positions = new Set(random.list(random.integer(0, 6), () => random.integer(1, 16_383)))
        return {
          word,
          positions: Array.from(positions)
            .toSorted((left, right) => left - right)
            .map((position) => ({ position, weight: random.pick(weightChoices) }))
        }
      })
    return sample(value, lexemesText(value))
  },
  refused: [
    [lexeme("a"), lexeme("a")],
    [lexeme("a", 2, 1)],
    [lexeme("a", 1, 1)],
    [lexeme("a", 0)],
    [lexeme("a", 16_384)],
    [lexeme("")],
    [lexeme("a\0b")],
    [lexeme("\ud800")],
    [lexeme("ä".repeat(1024))],
    [{ word: "a", positions: [...manyPositions, { position: 257, weight: "A" }] }],
    [{ word: "a", positions: [{ position: 1, weight: "E" }] }],
    [{ word: "a" }],
    Array.from({ length: 2000 }, (_, index) => lexeme(String(index).padStart(1000, "w"))),
    ["a"],
    "a",
    { word: "a", positions: [] }
  ]
}

const queryText = (term: PgTextSearch.TsQuery): string => {
  switch (term._tag) {
    case "Empty":
      return ""
    case "Word": {
      const suffix = `${term.prefix ? "*" : ""}${term.weights.join("")}`
      return suffix === "" ? quoted(term.word) : `${quoted(term.word)}:${suffix}`
    }
    case "Not":
      return `!( ${queryText(term.operand)} )`
    case "And":
      return `( ${queryText(term.left)} & ${queryText(term.right)} )`
    case "Or":
      return `( ${queryText(term.left)} | ${queryText(term.right)} )`
    case "Phrase":
      return `( ${queryText(term.left)} <${term.distance}> ${queryText(term.right)} )`
  }
}

const randomTerm = (random: Random, depth: number): PgTextSearch.Term => {
  const inner = () => randomTerm(random, depth - 1)
  if (depth === 0 || random.chance(0.2)) {
    return PgTextSearch.word(random.text(1, 12), {
      weights: weightChoices.filter(() => random.chance(0.3)),
      prefix: random.chance(0.3)
    })
  }
  return random.pick<() => PgTextSearch.Term>([
    () => PgTextSearch.not(inner()),
    () => PgTextSearch.and(inner(), inner()),
    () => PgTextSearch.or(inner(), inner()),
    () => PgTextSearch.phrase(inner(), inner(), random.pick([0, 1, 2, 16_384]))
  ])()
}

const itself: { _tag: "Not"; operand?: unknown } = { _tag: "Not" }
itself.operand = itself

const { and, not, or, phrase, word } = PgTextSearch

const tsquery: Kind = {
  type: "tsquery",
  samples: [
    sample(word("a"), "a"),
    sample(word("a", { weights: ["D", "A"], prefix: true }), "a:*AD", word("a", { weights: ["A", "D"], prefix: true })),
    sample(and(or(word("a"), word("b")), not(phrase(word("c"), word("d"), 3))), "(a | b) & !(c <3> d)"),
    sample(word("w".repeat(2046)), "w".repeat(2046))
  ],
  random: (random) => {
    const value = randomTerm(random, random.integer(0, 4))
    return sample(value, queryText(value))
  },
  refused: [
    word(""),
    word("a\0b"),
    word("w".repeat(2048)),
    { ...word("a"), weights: ["E"] },
    { ...word("a"), prefix: 1 },
    phrase(word("a"), word("b"), 16_385),
    phrase(word("a"), word("b"), -1),
    not({ ...word("a"), word: "" }),
    { _tag: "And", left: word("a") },
    { _tag: "Not", operand: PgTextSearch.empty },
    { _tag: "Xor", left: word("a"), right: word("b") },
    itself,
    PgTextSearch.empty,
    "a",
    {}
  ]
}

// ---- ranges

/** Values of a type in ascending order, no two of them neighbours, with their literals. */
type Ascending = (random: Random, count: number) => ReadonlyArray<readonly [value: unknown, literal: string]>

const ascendingNumbers = (random: Random, count: number, least: number, most: number): ReadonlyArray<number> =>
  Array.from(new Set(random.list(count, () => 2 * random.integer(Math.ceil(least / 2), Math.floor(most / 2)))))
    .toSorted((left, right) => left - right)

const day = 86_400_000
const isoDate = (days: number): string => new Date(days * day).toISOString().slice(0, 10)

const lowerText = (bound: PgRange.Bound<unknown>, literal: string): string =>
  bound._tag === "Unbounded" ? "(" : `${bound._tag === "Inclusive" ? "[" : "("}"${literal}"`
const upperText = (bound: PgRange.Bound<unknown>, literal: string): string =>
  bound._tag === "Unbounded" ? ")" : `"${literal}"${bound._tag === "Inclusive" ? "]" : ")"}`

const { empty, exclusive, inclusive, make, unbounded } = PgRange

const rangeKinds = (
  [type, multi]: readonly [string, string],
  ascending: Ascending,
  options: {
    /** The server writes every range as `[lower, upper)`. */
    readonly discrete?: boolean
    readonly samples?: ReadonlyArray<Sample>
    readonly refused: ReadonlyArray<unknown>
  }
): ReadonlyArray<Kind> => {
  const [[first, firstText], [second, secondText]] = (() => {
    const [one, two] = ascending(new Random(4), 50)
    assert.isDefined(one)
    assert.isDefined(two)
    return [one, two]
  })()
  const bounds = (bound: unknown): ReadonlyArray<unknown> => [
    make(inclusive(bound), unbounded),
    make(unbounded, exclusive(bound))
  ]
  return [
    {
      type,
      samples: [
        sample(empty, "empty"),
        sample(make(unbounded, unbounded), "(,)"),
        sample(make(inclusive(first), unbounded), `["${firstText}",]`),
        sample(make(unbounded, exclusive(second)), `[,"${secondText}")`),
        sample(make(inclusive(first), exclusive(first)), `["${firstText}","${firstText}")`, empty),
        ...(options.samples ?? [])
      ],
      random: (random) => {
        const [lower, upper] = ascending(random, 2)
        if (lower === undefined || upper === undefined) return sample(empty, "empty")
        const side = (value: unknown, canonical: typeof inclusive | typeof exclusive) =>
          random.chance(0.1)
            ? unbounded
            : options.discrete === true
            ? canonical(value)
            : random.chance(0.5)
            ? inclusive(value)
            : exclusive(value)
        const value = make(side(lower[0], inclusive), side(upper[0], exclusive))
        return sample(value, `${lowerText(value.lower, lower[1])},${upperText(value.upper, upper[1])}`)
      },
      refused: [
        ...options.refused.flatMap(bounds),
        ...bounds(null),
        ...bounds(undefined),
        { lower: unbounded },
        { lower: unbounded, upper: { _tag: "Inclusive" } },
        { lower: unbounded, upper: { _tag: "Open" } },
        { _tag: "Range", lower: unbounded, upper: unbounded },
        "empty",
        [],
        {}
      ]
    },
    {
      type: multi,
      samples: [
        sample([], "{}"),
        sample([make(unbounded, unbounded)], "{(,)}"),
        sample(
          [make(inclusive(second), unbounded), make(unbounded, exclusive(first))],
          `{(,"${firstText}"),["${secondText}",)}`,
          [make(unbounded, exclusive(first)), make(inclusive(second), unbounded)]
        ),
        sample(
          [make(inclusive(first), unbounded), make(inclusive(second), unbounded)],
          `{["${firstText}",)}`,
          [make(inclusive(first), unbounded)]
        )
      ],
      random: (random) => {
        const values = ascending(random, random.integer(0, 12))
        const value = Array.from({ length: Math.floor(values.length / 2) }, (_, index) => {
          const [[lower] = [], [upper] = []] = values.slice(2 * index, 2 * index + 2)
          return make(inclusive(lower), exclusive(upper))
        })
        const literal = value.map((_, index) => {
          const [[, lower] = [], [, upper] = []] = values.slice(2 * index, 2 * index + 2)
          return `["${lower}","${upper}")`
        })
        return sample(value, `{${literal.join(",")}}`)
      },
      refused: [
        [empty],
        make(unbounded, unbounded),
        ...options.refused.map((bound) => [make(inclusive(bound), unbounded)]),
        "{}",
        [[]]
      ]
    }
  ]
}

const ascendingTimestamps = (zone: "" | "+00"): Ascending => (random, count) =>
  ascendingNumbers(random, count, -62_135_596_800_000, 253_402_300_799_999).map((time) => {
    const date = new Date(time)
    return [date, date.toISOString().replace("Z", zone)]
  })

const microsText = (micros: bigint, zone: string): string => {
  const fraction = (micros % 1_000_000n + 1_000_000n) % 1_000_000n
  const second = new Date(Number((micros - fraction) / 1000n)).toISOString().slice(0, 19)
  return `${second}.${sized(6, String(fraction))}${zone}`
}

const randomMicros = (random: Random): bigint => random.bigint(-62_135_596_800_000_000n, 253_402_300_799_999_999n)

const ascendingMicros = (zone: "" | "+00"): Ascending => (random, count) =>
  Array.from(new Set(random.list(count, () => randomMicros(random))))
    .toSorted((left, right) => left < right ? -1 : 1)
    .map((micros) => [micros, microsText(micros, zone)])

/** Infinity is a value: no range with it is unbounded. */
const infinite = [
  sample(make(inclusive("-infinity"), exclusive("infinity")), "[-infinity,infinity)"),
  sample(make(exclusive("-infinity"), inclusive("infinity")), "(-infinity,infinity]"),
  sample(make(inclusive("infinity"), unbounded), "[infinity,)")
]

const timestampRanges = (
  ascending: (zone: "" | "+00") => Ascending,
  refused: ReadonlyArray<unknown>
): ReadonlyArray<Kind> => [
  ...rangeKinds(["tsrange", "tsmultirange"], ascending(""), { samples: infinite, refused }),
  ...rangeKinds(["tstzrange", "tstzmultirange"], ascending("+00"), { samples: infinite, refused })
]

const ranges: ReadonlyArray<Kind> = [
  ...rangeKinds(
    ["int4range", "int4multirange"],
    (random, count) => ascendingNumbers(random, count, -(2 ** 31), 2 ** 31 - 2).map((value) => [value, String(value)]),
    {
      discrete: true,
      samples: [
        sample(make(exclusive(1), inclusive(5)), "(1,5]", make(inclusive(2), exclusive(6))),
        sample(make(exclusive(1), exclusive(2)), "(1,2)", empty),
        sample(make(inclusive(-(2 ** 31)), exclusive(2 ** 31 - 1)), "[-2147483648,2147483647)")
      ],
      refused: [1n, "1", 2 ** 31, 1.5]
    }
  ),
  ...rangeKinds(
    ["int8range", "int8multirange"],
    (random, count) =>
      ascendingNumbers(random, count, -(2 ** 50), 2 ** 50).map((value) => [BigInt(value) * 1000n, `${value}000`]),
    {
      discrete: true,
      samples: [
        sample(
          make(inclusive(-(2n ** 63n)), exclusive(2n ** 63n - 1n)),
          "[-9223372036854775808,9223372036854775807)"
        )
      ],
      refused: [1, "1", 2n ** 63n]
    }
  ),
  ...rangeKinds(
    ["numrange", "nummultirange"],
    (random, count) =>
      ascendingNumbers(random, count, -1_000_000, 1_000_000).map((value) => {
        const text = `${value}${random.pick(["", ".0", ".10", `.${"3".repeat(200)}`])}`
        return [text, text]
      }),
    {
      samples: [
        sample(make(inclusive("-Infinity"), inclusive("Infinity")), "[-Infinity,Infinity]"),
        sample(make(inclusive("0"), inclusive("NaN")), "[0,NaN]"),
        sample(make(inclusive("1e3"), exclusive("1e131071")), "[1000,1e131071)", {
          lower: inclusive("1000"),
          upper: exclusive(`1${"0".repeat(131_071)}`)
        })
      ],
      refused: [1, 1n, "", "x", "1e131072", "1e999999999999"]
    }
  ),
  ...rangeKinds(
    ["daterange", "datemultirange"],
    (random, count) =>
      ascendingNumbers(random, count, -719_162, 2_932_896).map((days) => [isoDate(days), isoDate(days)]),
    {
      discrete: true,
      samples: [
        ...infinite,
        sample(
          make(inclusive("2024-02-28"), inclusive("2024-02-29")),
          "[2024-02-28,2024-02-29]",
          make(inclusive("2024-02-28"), exclusive("2024-03-01"))
        )
      ],
      refused: [new Date(0), "2023-02-29", "yesterday", 0]
    }
  )
]

const dateRanges = timestampRanges(ascendingTimestamps, [new Date(Number.NaN), "today", 1n])

const outsideMicros = [-210_866_803_200_000_001n, 9_224_318_016_000_000_000n]

const micros: ReadonlyArray<Kind> = [
  ...(["timestamp", "timestamptz"] as const).map((type): Kind => {
    const zone = type === "timestamp" ? "" : "+00"
    return {
      type,
      samples: [
        sample(0n, `1970-01-01 00:00:00${zone}`),
        sample(1n, `1970-01-01 00:00:00.000001${zone}`),
        sample(-1n, `1969-12-31 23:59:59.999999${zone}`),
        sample(946_684_800_000_000n, `2000-01-01 00:00:00${zone}`),
        sample(-210_866_803_200_000_000n, `4714-11-24 00:00:00${zone} BC`),
        sample(9_224_318_015_999_999_999n, `294276-12-31 23:59:59.999999${zone}`),
        sample("infinity", "infinity"),
        sample("-infinity", "-infinity"),
        sample(new Date(1234), `1970-01-01 00:00:01.234${zone}`, 1_234_000n)
      ],
      random: (random) => {
        const value = randomMicros(random)
        return sample(value, microsText(value, zone))
      },
      refused: [...outsideMicros, 0, "1970-01-01", new Date(Number.NaN)]
    }
  }),
  ...timestampRanges(ascendingMicros, [...outsideMicros, 1, "today"])
]

// ---- jsonpath

const jsonpath: Kind = {
  type: "jsonpath",
  samples: [
    sample("$", "$"),
    sample("$.a[*]?(@ > 1)", "$.a[*]?(@ > 1)", "$.\"a\"[*]?(@ > 1)"),
    sample("strict $.\"ä €\"", "strict $.\"ä €\"")
  ],
  random: (random) => {
    const key = JSON.stringify(random.text(1, 12))
    const text = `$.${key}[${random.integer(0, 1000)}]`
    return sample(text, text)
  },
  refused: [1, "$.\"\0\"", "$.\"\udc00\""]
}

const kinds: ReadonlyArray<Kind> = [
  mac("macaddr", 6),
  mac("macaddr8", 8),
  bits("bit"),
  bits("varbit"),
  money,
  tsvector,
  tsquery,
  ...ranges,
  ...geometry,
  unsigned64("pg_lsn", lsnText),
  unsigned64("xid8", String),
  unsigned32("xid"),
  unsigned32("cid"),
  tid,
  ...[
    "regproc",
    "regprocedure",
    "regoper",
    "regoperator",
    "regtype",
    "regrole",
    "regnamespace",
    "regconfig",
    "regdictionary",
    "regcollation"
  ].map((type) => unsigned32(type)),
  jsonpath
]

// ---- extensions

const hstoreQuoted = (text: string): string => `"${text.replaceAll(/["\\]/g, "\\$&")}"`

const hstoreText = (value: Readonly<Record<string, string | null>>): string =>
  Object.entries(value).map(([key, content]) =>
    `${hstoreQuoted(key)}=>${content === null ? "NULL" : hstoreQuoted(content)}`
  ).join(",")

const hstore: Kind = {
  type: "hstore",
  samples: [
    sample({}, ""),
    sample({ a: "1", b: null, "": "" }, "a=>1, b=>NULL, \"\"=>\"\""),
    sample({ null: "NULL" }, "null=>\"NULL\""),
    sample(JSON.parse("{\"__proto__\":\"x\"}"), "__proto__=>x"),
    sample({ long: "x".repeat(100_000) }, `long=>${"x".repeat(100_000)}`)
  ],
  random: (random) => {
    const value = Object.fromEntries(
      random.list(
        random.integer(0, 8),
        () => [random.text(0, 8), random.chance(0.2) ? null : random.text(0, 12)] as const
      )
    )
    return sample(value, hstoreText(value))
  },
  refused: [
    { a: 1 },
    { a: undefined },
    { a: {} },
    { "a\0": "b" },
    { a: "\ud800" },
    ["a"],
    "a=>1",
    new Map([["a", "b"]])
  ]
}

const label = (random: Random): string =>
  random.list(random.integer(1, 8), () => random.pick(["a", "B", "9", "_"])).join("")

const ltreeKind = (type: string, texts: ReadonlyArray<string>, random: (random: Random) => string): Kind => ({
  type,
  samples: texts.map((text) => sample(text, text)),
  random: (source) => {
    const text = random(source)
    return sample(text, text)
  },
  refused: [1, ["a"], "a\0", "\ud800"]
})

const extensions: ReadonlyArray<Kind> = [
  hstore,
  ltreeKind(
    "ltree",
    ["", "Top.Science", "a".repeat(255)],
    (random) => random.list(random.integer(1, 6), () => label(random)).join(".")
  ),
  ltreeKind(
    "lquery",
    ["Top.*{2}.!a|b", "a@.b*.c%.*{1,}"],
    (random) => random.list(random.integer(1, 6), () => `${label(random)}${random.pick(["", "*", "@"])}`).join(".")
  ),
  ltreeKind(
    "ltxtquery",
    ["a & b@*", "a & !b"],
    (random) => random.list(random.integer(1, 6), () => label(random)).join(" & ")
  )
]

/** The bytes that pgvector sends, as the text of a bytea. */
const vectorBytes = (value: Float32Array): string => {
  const bytes = Buffer.alloc(4 + 4 * value.length)
  bytes.writeInt16BE(value.length, 0)
  value.forEach((element, index) => bytes.writeFloatBE(element, 4 + 4 * index))
  return `\\x${bytes.toString("hex")}`
}

const vectorText = (value: Float32Array): string => `[${value.join(",")}]`

const vectors = (literal: (value: Float32Array) => string): Kind => {
  const sampled = (value: Float32Array) => sample(value, literal(value))
  return {
    type: "vector",
    samples: [
      sampled(Float32Array.of(1, -0.5, 0)),
      sampled(Float32Array.of(3.4028234663852886e38, 1.401298464324817e-45)),
      sampled(new Float32Array(16_000).fill(1))
    ],
    random: (random) =>
      sampled(Float32Array.from({ length: random.integer(1, 40) }, () => random.integer(-10_000, 10_000) / 64)),
    refused: [
      [1, 2],
      new Float32Array(0),
      new Float32Array(16_001),
      Float32Array.of(Number.NaN),
      Float32Array.of(1, Infinity),
      new Float64Array(1),
      "[1]"
    ]
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// What holds for every type
// ---------------------------------------------------------------------------------------------------------------------

/** The form in which the server would otherwise write money is the locale's. */
const config = { url, startupParameters: { lc_monetary: "C" } }

interface TypeOids {
  readonly oid: number
  readonly array: number
}

const oidsOf = Effect.fnUntraced(function*(type: string) {
  const sql = yield* PgClient.PgClient
  const [row] = yield* sql<TypeOids>`select oid, typarray as array from pg_type where oid = ${`"${type}"`}::regtype`
  assert.isDefined(row)
  return row
})

const parameter = (oid: number, value: unknown): PgTypes.Parameter => ({
  [PgTypes.ParameterTypeId]: PgTypes.ParameterTypeId,
  oid,
  value
})

interface Compared {
  readonly text: string
  readonly expected: string
  readonly value: unknown
  readonly parsed: unknown
}

/** Sends all samples as one array, and has the server compare each with its literal. */
const compare = Effect.fnUntraced(function*(type: string, samples: ReadonlyArray<Sample>) {
  const sql = yield* PgClient.PgClient
  const { array } = yield* oidsOf(type)
  const literals = samples.map(({ literal }) => literal)
  const rows = yield* sql.unsafe<Compared>(
    `select s.value::text as text, s.literal::"${type}"::text as expected, s.value, s.literal::"${type}" as parsed
       from unnest($1, $2::text[]) with ordinality as s(value, literal, n)
      order by n`,
    [parameter(array, samples.map(({ value }) => value)), parameter(PgTypes.OID.textArray, literals)]
  )
  for (const [index, row] of rows.entries()) {
    const about = `${type} ${literals[index]?.slice(0, 1000)} (PG_CODECS_SEED=${seed})`
    assert.strictEqual(row.text, row.expected, about)
    assert.deepStrictEqual(row.value, samples[index]?.read, about)
    assert.deepStrictEqual(row.value, row.parsed, about)
  }
  return rows.length
})

const succeeds = <A, E>(result: Result.Result<A, E>): A =>
  Result.getOrThrowWith(result, (problem) => new Error(`refused: ${String(problem)}`))

const refusal = (result: Result.Result<unknown, PgTypes.CodecError>): PgTypes.CodecError | undefined =>
  Result.isFailure(result) ? result.failure : undefined

/** The tests of one type. `run` provides a client, and the registry that it uses. */
const itHolds = (
  { random, refused, samples, type }: Kind,
  run: <E>(test: (registry: PgTypes.Registry) => Effect.Effect<void, E, PgClient.PgClient>) => Promise<void>
) =>
  describe(`type ${type}`, () => {
    it("case 38: ordinary and extreme values, one by one, are to the server what their literals are", () =>
      run(Effect.fnUntraced(function*() {
        const sql = yield* PgClient.PgClient
        const { oid } = yield* oidsOf(type)
        for (const { literal, read, value } of samples) {
          const [row] = yield* sql.unsafe<Compared>(
            `select $1::text as text, $2::text::"${type}"::text as expected, $1 as value, $2::text::"${type}" as parsed`,
            [parameter(oid, value), literal]
          )
          const about = `${type} ${literal.slice(0, 1000)}`
          assert.strictEqual(row?.text, row?.expected, about)
          assert.deepStrictEqual(row?.value, read, about)
          assert.deepStrictEqual(row?.value, row?.parsed, about)
        }
      })))

    it("case 38: the same in one array, which comes back as it was sent, with NULL among its elements", () =>
      run(Effect.fnUntraced(function*() {
        const sql = yield* PgClient.PgClient
        const { array } = yield* oidsOf(type)
        assert.strictEqual(yield* compare(type, samples), samples.length)
        const sent = [null, ...samples.map(({ value }) => value), null]
        const read = [null, ...samples.map((sample) => sample.read), null]
        const [row] = yield* sql.unsafe<{ readonly all: unknown; readonly none: unknown; readonly nothing: unknown }>(
          "select $1 as all, $2 as none, $3 as nothing",
          [parameter(array, sent), parameter(array, []), parameter(array, null)]
        )
        assert.deepStrictEqual(row, { all: read, none: [], nothing: null })
      })))

    it("case 38: NULL is null", () =>
      run(Effect.fnUntraced(function*() {
        const sql = yield* PgClient.PgClient
        const { oid } = yield* oidsOf(type)
        assert.deepStrictEqual(
          yield* sql.unsafe(`select $1 is null as sent, null::"${type}" as read`, [parameter(oid, null)]),
          [{ sent: true, read: null }]
        )
      })))

    it("case 38: 400 random values are to the server what their literals are", () =>
      run(Effect.fnUntraced(function*() {
        const source = new Random(seed)
        assert.strictEqual(yield* compare(type, source.list(400, () => random(source))), 400)
      })))

    it("case 38: what the type cannot hold is refused before anything is sent", () =>
      run(Effect.fnUntraced(function*(registry) {
        const sql = yield* PgClient.PgClient
        const { oid } = yield* oidsOf(type)
        for (const [index, value] of refused.entries()) {
          const error = refusal(PgTypes.encode(value, oid, registry))
          assert.instanceOf(error, PgTypes.CodecError, `${type}: value ${index} was not refused`)
        }
        const session = sql.unsafe<{ readonly pid: number }>("select pg_backend_pid() as pid")
        const before = yield* session
        const sent = yield* Effect.exit(sql.unsafe("select $1", [parameter(oid, refused[0])]))
        assert.strictEqual(sent._tag, "Failure")
        assert.deepStrictEqual(yield* session, before)
      })))

    it("case 38: bytes that are no value are a typed error, and nothing beyond the field is read", () =>
      run(Effect.fnUntraced(function*(registry) {
        const { array, oid } = yield* oidsOf(type)
        const source = new Random(seed)
        const values = [
          ...samples.filter(({ literal }) => literal.length < 1000),
          ...source.list(20, () => random(source))
        ]
        const decode = (bytes: Uint8Array) => PgTypes.decode(bytes, oid, 1, registry)
        for (const { value } of values) {
          const bytes = succeeds(PgTypes.encode(value, oid, registry))
          const sent = succeeds(decode(bytes))
          // As the only element of an array, the value stands between other bytes.
          assert.deepStrictEqual(
            succeeds(PgTypes.decode(succeeds(PgTypes.encode([value], array, registry)), array, 1, registry)),
            [sent]
          )
          for (let size = 0; size < bytes.length; size++) {
            // A shorter text is a text.
            const cut = decode(bytes.slice(0, size))
            if (Result.isSuccess(cut)) assert.isString(cut.success)
          }
          const longer = decode(Uint8Array.of(...bytes, 0x41))
          if (Result.isSuccess(longer)) assert.strictEqual(longer.success, `${String(sent)}A`)
          // Any outcome but an exception.
          for (let round = 0; round < 20; round++) {
            const damaged = bytes.map((byte) => source.chance(0.1) ? source.integer(0, 255) : byte)
            assert.include(["Success", "Failure"], decode(damaged)._tag)
          }
        }
      })))
  })

const onClient =
  (options: PgCodecs.RegistryOptions = {}) =>
  <E>(test: (registry: PgTypes.Registry) => Effect.Effect<void, E, PgClient.PgClient>): Promise<void> => {
    const registry = PgCodecs.registry(options)
    return test(registry).pipe(
      Effect.provide(PgClient.layer({ ...config, types: registry, maxConnections: 1 })),
      Effect.runPromise
    )
  }

describe("types of every server", () => {
  for (const kind of kinds) itHolds(kind, onClient())
})

describe("timestamps as Date", () => {
  for (const kind of dateRanges) itHolds(kind, onClient())
})

describe("timestamps as microseconds", () => {
  for (const kind of micros) itHolds(kind, onClient({ timestamps: "micros" }))
})

// ---------------------------------------------------------------------------------------------------------------------
// Extensions
// ---------------------------------------------------------------------------------------------------------------------

const onExtensions = <E>(
  test: (registry: PgTypes.Registry) => Effect.Effect<void, E, PgClient.PgClient>
): Promise<void> =>
  Effect.gen(function*() {
    const { registry } = yield* PgCodecs.load({ connection: { url } })
    yield* test(registry).pipe(Effect.provide(PgClient.layer({ ...config, types: registry, maxConnections: 1 })))
  }).pipe(Effect.runPromise)

/**
 * A type of the same name that keeps the bytes which it receives and shows them as hexadecimal: enough to see on a server
 * without pgvector that it would be sent what it understands.
 */
const standIn = [
  "create type vector",
  "create function vector_in(cstring) returns vector language internal immutable strict as 'byteain'",
  "create function vector_out(vector) returns cstring language internal immutable strict as 'byteaout'",
  "create function vector_recv(internal) returns vector language internal immutable strict as 'bytearecv'",
  "create function vector_send(vector) returns bytea language internal immutable strict as 'byteasend'",
  "create type vector (input = vector_in, output = vector_out, receive = vector_recv, send = vector_send, storage = extended)",
  "create extension tcn",
  "alter extension tcn add type vector",
  // Which extension a type is of counts, and an extension has the name that the catalogue says.
  "update pg_extension set extname = 'vector' where extname = 'tcn'"
]

const hasVector = await Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const [row] = yield* sql<{ readonly has: boolean }>`
    select exists (select from pg_available_extensions where name = 'vector') as has`
  const has = row?.has === true
  const statements = ["create extension hstore", "create extension ltree"]
  for (const text of [...statements, ...(has ? ["create extension vector"] : standIn)]) yield* sql.unsafe(text)
  return has
}).pipe(Effect.provide(PgClient.layer({ ...config, maxConnections: 1 })), Effect.runPromise)

describe("types of extensions (case 40)", () => {
  for (const kind of extensions) itHolds(kind, onExtensions)
})

describe(`pgvector (case 40), ${hasVector ? "by itself" : "by a type that keeps its bytes"}`, () => {
  itHolds(vectors(hasVector ? vectorText : vectorBytes), onExtensions)

  it.skipIf(!hasVector)(
    "case 40: a vector of another dimension than the column's is refused by the server",
    () =>
      onExtensions(Effect.fnUntraced(function*(registry) {
        const sql = yield* PgClient.PgClient
        yield* sql`create temporary table vectors (v vector(2))`
        const vector = succeeds(PgCodecs.parameter(registry, "vector", Float32Array.of(1, 2, 3)))
        const sent = yield* Effect.exit(sql`insert into vectors values (${vector})`)
        assert.strictEqual(sent._tag, "Failure")
      }))
  )
})

// ---------------------------------------------------------------------------------------------------------------------
// Facts of single types
// ---------------------------------------------------------------------------------------------------------------------

/** The words of a chain of And, first to last. */
const wordsOf = (chain: unknown): ReadonlyArray<string> => {
  const read: Array<string> = []
  let term: unknown = chain
  for (; Predicate.isTagged(term, "And"); term = Reflect.get(term, "left")) {
    const right: unknown = Reflect.get(term, "right")
    if (Predicate.hasProperty(right, "word")) read.push(String(right.word))
  }
  assert.deepStrictEqual(term, word("w0"))
  return [...read, "w0"].toReversed()
}

describe("single types", () => {
  it("case 38: every type of the list is registered with the array type that the catalogue has for it", () =>
    onClient()(Effect.fnUntraced(function*(registry) {
      for (const { type } of [...kinds, ...dateRanges]) {
        const { array, oid } = yield* oidsOf(type)
        assert.strictEqual(PgTypes.arrayOidFor(oid, registry), array, type)
      }
    })))

  it("case 38: system columns and the functions that yield their types are read", () =>
    onClient()(Effect.fnUntraced(function*() {
      const sql = yield* PgClient.PgClient
      const [row] = yield* sql<Record<string, unknown>>`
        select ctid, xmin, cmin, 'int4'::regtype as type, 'pg_catalog'::regnamespace as schema,
               'english'::regconfig as config, pg_lsn '16/B374D848' as lsn, '12'::xid8 as "fullXid",
               array['int4', 'text']::regtype[] as types, plainto_tsquery('english', 'the') as nothing
          from pg_class where oid = 'pg_class'::regclass`
      assert.hasAllKeys(row?.["ctid"], ["block", "offset"])
      assert.isNumber(row?.["xmin"])
      assert.isNumber(row?.["cmin"])
      assert.isNumber(row?.["config"])
      assert.deepInclude(row, {
        type: PgTypes.OID.int4,
        schema: 11,
        lsn: 0x16_b374_d848n,
        fullXid: 12n,
        types: [PgTypes.OID.int4, PgTypes.OID.text],
        nothing: PgTextSearch.empty
      })
    })))

  it("case 38: a query without terms is given as text without a type", () =>
    onClient()(Effect.fnUntraced(function*() {
      const sql = yield* PgClient.PgClient
      assert.deepStrictEqual(yield* sql`select ${""}::tsquery as query`, [{ query: PgTextSearch.empty }])
    })))

  it("case 38: the longest word of the server is read and sent back", () =>
    onClient()(Effect.fnUntraced(function*(registry) {
      const sql = yield* PgClient.PgClient
      const vector = [lexeme("w".repeat(2047))]
      const sent = succeeds(PgCodecs.parameter(registry, "tsvector", vector))
      assert.deepStrictEqual(
        yield* sql`select v as read, v = ${sent} as same from array_to_tsvector(array[repeat('w', 2047)]) as v`,
        [{ read: vector, same: true }]
      )
    })))

  it("case 38: bounds that no Date can hold are read as an invalid one", () =>
    onClient()(Effect.fnUntraced(function*() {
      const sql = yield* PgClient.PgClient
      assert.deepStrictEqual(
        yield* sql`select tsrange '[290000-01-01,)' as range, tstzmultirange '{[290000-01-01,)}' as ranges`,
        [{
          range: make(inclusive(new Date(Number.NaN)), unbounded),
          ranges: [make(inclusive(new Date(Number.NaN)), unbounded)]
        }]
      )
    })))

  it("case 38: a range whose bounds are the wrong way round is the server's to refuse, and the session goes on", () =>
    onClient()(Effect.fnUntraced(function*(registry) {
      const sql = yield* PgClient.PgClient
      const pid = sql<{ readonly pid: number }>`select pg_backend_pid() as pid`
      const before = yield* pid
      const range = succeeds(PgCodecs.parameter(registry, "int4range", make(inclusive(2), exclusive(1))))
      const error = yield* Effect.flip(sql`select ${range} as range`)
      assert.include(JSON.stringify(error.reason.cause), "22000")
      assert.deepStrictEqual(yield* pid, before)
    })))

  it("case 38: a query that is a long chain of words is written and read", () =>
    onClient()(Effect.fnUntraced(function*(registry) {
      const sql = yield* PgClient.PgClient
      const { oid } = yield* oidsOf("tsquery")
      const words = Array.from({ length: 100_000 }, (_, index) => `w${index}`)
      const chainOf = (length: number) =>
        words.slice(1, length).reduce<PgTextSearch.Term>((left, next) => and(left, word(next)), word("w0"))
      // The server's own stack ends somewhere above this, depending on its settings.
      const few = 5000
      const query = succeeds(PgCodecs.parameter(registry, "tsquery", chainOf(few)))
      const [row] = yield* sql<{ readonly same: boolean; readonly read: unknown }>`
        select ${query}::text = ${words.slice(0, few).join(" & ")}::tsquery::text as same, ${query} as read`
      assert.isTrue(row?.same)
      assert.strictEqual(wordsOf(row?.read).join(), words.slice(0, few).join())
      const bytes = succeeds(PgTypes.encode(chainOf(words.length), oid, registry))
      assert.strictEqual(wordsOf(succeeds(PgTypes.decode(bytes, oid, 1, registry))).join(), words.join())
    })))

  it("case 38: a search finds what the trees say", () =>
    onClient()(Effect.fnUntraced(function*(registry) {
      const sql = yield* PgClient.PgClient
      const document = [lexeme("cat", 1), lexeme("dog", 3)]
      const matches = Effect.fnUntraced(function*(query: PgTextSearch.TsQuery) {
        const parameters = [
          succeeds(PgCodecs.parameter(registry, "tsvector", document)),
          succeeds(PgCodecs.parameter(registry, "tsquery", query))
        ] as const
        const [row] = yield* sql<{ readonly found: boolean }>`select ${parameters[0]} @@ ${parameters[1]} as found`
        return row?.found
      })
      assert.isTrue(yield* matches(phrase(word("cat"), word("dog"), 2)))
      assert.isFalse(yield* matches(phrase(word("dog"), word("cat"), 2)))
      assert.isFalse(yield* matches(and(word("cat"), not(word("d", { prefix: true })))))
      assert.isTrue(yield* matches(or(word("cat", { weights: ["B"] }), word("dog", { weights: ["A", "B"] }))))
    })))

  it("case 38: bits of a column with a length come back in full", () =>
    onClient()(Effect.fnUntraced(function*(registry) {
      const sql = yield* PgClient.PgClient
      yield* sql`create temporary table flags (few bit(10), many varbit(70))`
      const value = { few: "1010000001", many: "01".repeat(35) }
      const bits = (text: string) => succeeds(PgCodecs.parameter(registry, "varbit", text))
      yield* sql`insert into flags values (${bits(value.few)}, ${bits(value.many)})`
      assert.deepStrictEqual(yield* sql`select * from flags`, [value])
    })))

  it("case 38: with microseconds a Date is still a parameter", () =>
    onClient({ timestamps: "micros" })(Effect.fnUntraced(function*() {
      const sql = yield* PgClient.PgClient
      const date = new Date("9204-08-07T02:20:49.294Z")
      assert.deepStrictEqual(yield* sql`select ${date} as at`, [{ at: BigInt(date.getTime()) * 1000n }])
    })))

  it("case 38: without it timestamps are the driver's", () =>
    onClient()(Effect.fnUntraced(function*() {
      const sql = yield* PgClient.PgClient
      const at = new Date("2024-02-29T12:34:56.789Z")
      assert.deepStrictEqual(
        yield* sql`select ${at} as at, timestamptz '2024-02-29 12:34:56.789999+00' as cut, array[${at}] as more`,
        [{ at, cut: at, more: [at] }]
      )
    })))

  it("case 38: a codec that a program registers for everybody does not change what is in a range", () =>
    onClient()(Effect.fnUntraced(function*(registry) {
      const { oid } = yield* oidsOf("int4range")
      PgTypes.register(PgTypes.OID.int4, {
        encode: () => Result.succeed(new Uint8Array()),
        decode: () => Result.succeed("mine")
      })
      const value = make(inclusive(1), exclusive(2))
      const bytes = succeeds(PgTypes.encode(value, oid, registry))
      const decoded = PgTypes.decode(bytes, oid, 1, registry)
      PgTypes.unregister(PgTypes.OID.int4)
      assert.deepStrictEqual(succeeds(decoded), value)
    })))

  it("case 38: texts of errors quote no value", () =>
    onClient()(Effect.fnUntraced(function*(registry) {
      const secret = "s3cret"
      for (const { type } of kinds) {
        const { oid } = yield* oidsOf(type)
        const values = [secret, { word: secret, _tag: secret }, [secret], make(inclusive(secret), unbounded)]
        for (const value of values) {
          assert.notInclude(refusal(PgTypes.encode(value, oid, registry))?.message ?? "", secret, type)
        }
      }
    })))
})

describe("bit strings", () => {
  it("case 38: become bytes, the first bit in the highest place, and come back", () => {
    assert.deepStrictEqual(succeeds(PgBitString.toBytes("1")), Uint8Array.of(0x80))
    assert.deepStrictEqual(succeeds(PgBitString.toBytes("0000000111111111")), Uint8Array.of(1, 255))
    assert.deepStrictEqual(succeeds(PgBitString.toBytes("")), new Uint8Array())
    assert.strictEqual(succeeds(PgBitString.fromBytes(Uint8Array.of(1, 255))), "0000000111111111")
    assert.strictEqual(succeeds(PgBitString.fromBytes(Uint8Array.of(1, 255), 9)), "000000011")
    const random = new Random(seed)
    for (let round = 0; round < 300; round++) {
      const bits = random.list(random.integer(0, 70), () => random.pick(["0", "1"])).join("")
      assert.strictEqual(succeeds(PgBitString.fromBytes(succeeds(PgBitString.toBytes(bits)), bits.length)), bits)
    }
  })

  it("case 38: hold ten million bits", () => {
    const bits = "10".repeat(5_000_000)
    const bytes = succeeds(PgBitString.toBytes(bits))
    assert.strictEqual(bytes.length, 1_250_000)
    assert.isTrue(succeeds(PgBitString.fromBytes(bytes)) === bits)
  })

  it("case 38: wrong characters and lengths are typed errors", () => {
    for (const bits of ["2", "1 0", "0x1", "11111111,"]) {
      assert.instanceOf(refusal(PgBitString.toBytes(bits)), PgTypes.CodecError)
    }
    for (const length of [-1, 9, 1.5, Number.NaN]) {
      assert.instanceOf(refusal(PgBitString.fromBytes(Uint8Array.of(1), length)), PgTypes.CodecError)
    }
  })
})

describe("log sequence numbers", () => {
  it("case 38: have the server's text", () => {
    assert.strictEqual(succeeds(PgLsn.toText(0x16_b374_d848n)), "16/B374D848")
    assert.strictEqual(succeeds(PgLsn.toText(0n)), "0/0")
    assert.strictEqual(succeeds(PgLsn.fromText("ffffffff/FFFFFFFF")), 2n ** 64n - 1n)
    const random = new Random(seed)
    for (let round = 0; round < 300; round++) {
      const lsn = random.uint64()
      assert.strictEqual(succeeds(PgLsn.fromText(succeeds(PgLsn.toText(lsn)))), lsn)
      assert.strictEqual(succeeds(PgLsn.toText(lsn)), lsnText(lsn))
    }
  })

  it("case 38: other texts and numbers are typed errors", () => {
    for (const text of ["", "0", "/", "0/", "123456789/0", "0/0 ", "g/0", "-1/0"]) {
      assert.instanceOf(refusal(PgLsn.fromText(text)), PgTypes.CodecError)
    }
    for (const lsn of [-1n, 2n ** 64n]) assert.instanceOf(refusal(PgLsn.toText(lsn)), PgTypes.CodecError)
  })
})
