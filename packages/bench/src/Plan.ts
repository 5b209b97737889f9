/**
 * What is measured, in which order, with which settings: scenarios S1 to S15 as far as there are stores for them.
 *
 * A block is what is compared: some subjects, each in a process and a database of its own, and the floor before and after.
 */
import type { Params, Step } from "./Job.ts"
import type { Role } from "./Results.ts"
import type { Work } from "./Subject.ts"
import * as Subjects from "./Subjects.ts"

/** One subject with its settings, and what it is asked to do. */
export interface Contender {
  readonly label: string
  readonly role: Role
  readonly subject: string
  readonly options: Params
  readonly queues: number
  readonly bodyBytes: number
  readonly pool: number
  readonly database: boolean
  readonly steps: ReadonlyArray<Step>
}

export interface Block {
  readonly title: string
  readonly passes: number
  /** No further pass begins that would end later than so many seconds after the start of the run. */
  readonly until: number
  readonly floor?: Contender | undefined
  readonly contenders: ReadonlyArray<Contender>
}

export interface Options {
  readonly quick: boolean
  /** Scenarios; none for all. */
  readonly only: ReadonlyArray<string>
  /** Up to how many stored messages S11 goes. */
  readonly stored: number
  /** For how many minutes S10 holds its transaction open. */
  readonly held: number
}

/** The names by which goals and reports find what they compare. */
export const label = {
  coalescing: "MsgStore",
  single: "MsgStore, coalesce: false",
  memory: "MsgStore in memory",
  lanes: (lanes: number) => `MsgStore, ${lanes} ${lanes === 1 ? "lane" : "lanes"}`,
  peer: (id: string, mode: "default" | "fastest") => `${id}, ${mode === "default" ? "defaults" : "fastest"}`
}

export const floors = {
  copyIn: "F1 COPY in",
  copyOut: "F1 COPY out",
  table: "F1 bare table",
  insertMany: (batch: number) => `F2 insert unnest × ${batch}`,
  insertOne: (concurrency: number) => `F3 insert, ${concurrency} at once`,
  deleteOldest: (batch: number) => `F4 delete oldest ${batch}`,
  notify: (rate: number) => `F5 pg_notify, ${rate} a second`,
  txRef: "F6 two TxRef.modify",
  map: "F6 Map of arrays"
}

export const scenarios: Readonly<Record<string, string>> = {
  S1: "single durable send",
  S2: "batch send",
  S3: "whole cycle: send, take, settle; take and settle one by one",
  S4: "batch consume",
  S6: "number of queues",
  S7: "body size",
  S8: "wake-up of an idle reader in another process",
  S10: "an old transaction is held open",
  S11: "growth",
  S12: "bytes on disk, and in memory",
  S13: "idle readers",
  S14: "memory store",
  S15: "import and export"
}

const kib = 1_024

const special = (scenario: string, name: string, duration: number, params: Params, floor?: string): Step => ({
  scenario,
  params,
  ...floor === undefined ? {} : { floor },
  action: { _tag: "Special", name, seconds: duration }
})

export const make = ({ held, only, quick, stored }: Options): ReadonlyArray<Block> => {
  const seconds = quick ? 0.7 : 5
  const warmUp = quick ? 0.25 : 3
  const passes = quick ? 3 : 5
  /** Before the last block, which takes what is left of the three minutes. */
  const until = quick ? 90 : Infinity
  const peerModes = quick ? ["fastest"] as const : ["default", "fastest"] as const

  const step = (
    scenario: string,
    work: Work,
    params: Params,
    loop: { concurrency: number; batch?: number; prepare?: number; clear?: boolean },
    floor?: string
  ): Step => ({
    scenario,
    params,
    ...floor === undefined ? {} : { floor },
    action: {
      _tag: "Loop",
      work,
      warmUp,
      seconds,
      batch: 1,
      prepare: 0,
      clear: work === "cycle" || work === "take",
      // Only the full run has the time.
      latency: !quick && (work === "send" || work === "cycle"),
      ...loop
    }
  })

  const contender = (
    label: string,
    role: Role,
    subject: string,
    steps: ReadonlyArray<Step>,
    given: Partial<Contender> = {}
  ): Contender => ({
    label,
    role,
    subject,
    steps,
    options: {},
    queues: 1_000,
    bodyBytes: kib,
    pool: 10,
    database: true,
    ...given
  })

  const insertMany = (batch: number, callers: number): Step =>
    step("floor", "sendMany", { batch, callers }, { concurrency: callers, batch }, floors.insertMany(batch))
  const insertOne = (concurrency: number): Step =>
    step("floor", "send", { fibers: concurrency }, { concurrency }, floors.insertOne(concurrency))
  const deleteOldest = (batch: number, loops: number): Step =>
    step(
      "floor",
      "take",
      { batch, loops },
      { concurrency: loops, batch, prepare: 100_000 },
      floors.deleteOldest(batch)
    )

  const send = (fibers: number, floor = floors.insertMany(256)): Step =>
    step("S1", "send", { fibers }, { concurrency: fibers }, floor)
  const cycle = (fibers: number): Step =>
    step("S3", "cycle", { fibers, kind: "send, take, settle" }, { concurrency: fibers })
  const takeOne = (fibers: number): Step =>
    step(
      "S3",
      "take",
      { fibers, kind: "take, settle" },
      { concurrency: fibers, prepare: quick ? 20_000 : 100_000 },
      floors.deleteOldest(1)
    )
  const sendMany = (batch: number, callers: number, scenario = "S2", params: Params = {}): Step =>
    step(
      scenario,
      "sendMany",
      { ...params, batch, callers },
      { concurrency: callers, batch },
      floors.insertMany(batch >= 1_000 ? 1_000 : 100)
    )
  const takeMany = (batch: number, loops: number, scenario = "S4", params: Params = {}): Step =>
    step(
      scenario,
      "take",
      { ...params, batch, loops },
      { concurrency: loops, batch, prepare: 100_000 },
      floors.deleteOldest(100)
    )

  const table = (steps: ReadonlyArray<Step>, given: Partial<Contender> = {}) =>
    contender("floor", "floor", "table", steps, given)

  /** The same through the driver of most packages, so that the share of the driver is visible. */
  const throughPg = (steps: ReadonlyArray<Step>) =>
    contender(
      "floor through pg",
      "floor",
      "pg",
      steps.map((step) => ({ ...step, floor: `${step.floor}, through pg` }))
    )

  // The cycle comes first: it begins with empty queues.
  const peerSteps = quick
    ? [cycle(64), send(64), send(256)]
    : [cycle(1), cycle(64), cycle(256), takeOne(64), send(1), send(64), send(256), send(1_024)]

  const sends: Block = {
    title: "sends, and the whole cycle",
    passes,
    until: quick ? 165 : Infinity,
    floor: table(
      quick
        ? [insertMany(256, 1), insertMany(256, 2), insertOne(64)]
        : [insertMany(256, 1), insertMany(256, 2), insertOne(1), insertOne(64), insertOne(256), deleteOldest(1, 64)]
    ),
    contenders: [
      contender(
        label.coalescing,
        "ours",
        "msg-store",
        quick
          ? [cycle(64), send(64), send(256), send(1_024)]
          : [
            cycle(1),
            cycle(64),
            cycle(256),
            takeOne(1),
            takeOne(64),
            takeOne(256),
            send(1),
            send(64),
            send(256),
            send(1_024)
          ]
      ),
      contender(
        label.single,
        "ours",
        "msg-store",
        (quick ? [64] : [1, 64, 256, 1_024]).map((fibers) => send(fibers, floors.insertOne(Math.min(fibers, 256)))),
        { options: { coalesce: false } }
      ),
      ...quick ? [] : [
        ...[1, 2, 4, 8].map((lanes) =>
          contender(label.lanes(lanes), "ours", "msg-store", [send(64), send(256), send(1_024)], { options: { lanes } })
        ),
        throughPg([insertMany(256, 1), insertMany(256, 2), insertOne(1), insertOne(64), insertOne(256)])
      ],
      ...Subjects.peers.flatMap((id) =>
        peerModes.map((mode) => contender(label.peer(id, mode), "peer", id, peerSteps, { options: { mode } }))
      )
    ]
  }

  const latency: Block = {
    title: "one fiber: the lane against a direct call",
    passes: quick ? 1 : passes,
    until,
    contenders: [
      contender(label.coalescing, "ours", "msg-store", [special("S1", "latency", quick ? 4 : 10, { fibers: 1 })])
    ]
  }

  const copies = (messages: number) => [
    special("S15", "import", 5, { messages, kind: "in" }, floors.copyIn),
    special("S15", "export", 5, { messages, kind: "out" }, floors.copyOut)
  ]
  const bulkSizes = quick ? [100_000] : [100_000, 1_000_000]
  const bulk = bulkSizes.map((messages): Block => ({
    title: `import and export of ${messages} messages`,
    passes: quick ? 2 : messages > 100_000 ? 3 : 5,
    until,
    floor: contender("floor", "floor", "copy", copies(messages)),
    contenders: [
      ...quick ? [] : [throughPg(copies(messages))],
      contender(label.coalescing, "ours", "msg-store", [
        special("S15", "import", 10, { messages, kind: "import" }, floors.copyIn),
        special("S15", "export", 10, { messages, kind: "export" }, floors.copyOut)
      ])
    ]
  }))

  const wakeUpRates = [10, 300]
  const wakeUp: Block = {
    title: "wake-up in another process",
    passes: quick ? 1 : 3,
    until,
    floor: contender(
      "floor",
      "floor",
      "notify",
      wakeUpRates.map((rate) => special("S8", "wakeUp", quick ? 1.5 : 10, { rate }, floors.notify(rate)))
    ),
    contenders: [
      contender(
        label.coalescing,
        "ours",
        "msg-store",
        wakeUpRates.map((rate) => special("S8", "wakeUp", quick ? 2.5 : 10, { rate }, floors.notify(rate))),
        { queues: 100 }
      )
    ]
  }

  const growth: Block = {
    title: "peek in a large store and in a small one",
    passes: 1,
    until: Infinity,
    contenders: [
      contender(
        label.coalescing,
        "ours",
        "msg-store",
        [special("S11", "growth", quick ? 4 : 40, { messages: 1_000_000, queues: 100_000 })],
        // 1 KiB would take most of the three minutes for being stored.
        { queues: 100, bodyBytes: quick ? 100 : kib }
      )
    ]
  }

  const heldXmin: Block = {
    title: `an old transaction is held open for ${held} minutes`,
    passes: 1,
    until,
    contenders: [
      contender(label.coalescing, "ours", "msg-store", [special("S10", "heldXmin", held * 60, { offered: 2_000 })])
    ]
  }

  const footprint: Block = {
    title: "bytes on disk",
    passes: 1,
    until,
    floor: contender("floor", "floor", "copy", [
      special("S12", "footprint", 30, { messages: 100_000 }, floors.table)
    ]),
    contenders: [
      contender(label.coalescing, "ours", "msg-store", [
        special("S12", "footprint", 30, { messages: 100_000 }, floors.table)
      ])
    ]
  }

  const idle: Block = {
    title: "readers that wait",
    passes: 1,
    until,
    contenders: [1, 1_000].map((receivers) =>
      contender(label.coalescing, "ours", "msg-store", [special("S13", "idle", 60, { receivers })], {
        queues: receivers
      })
    )
  }

  const levels = [1_000, 10_000, 100_000, 1_000_000, 10_000_000].filter((level) => level <= stored)
  const curve: Block = {
    title: "messages already stored",
    passes: 3,
    until: Infinity,
    floor: table([insertMany(256, 2), deleteOldest(100, 4)]),
    contenders: levels.map((level) => {
      const params = { stored: level }
      return contender(label.coalescing, "ours", "msg-store", [
        step("S11", "peek", { ...params, kind: "peek" }, { concurrency: 64, prepare: level }),
        step(
          "S11",
          "take",
          { ...params, kind: "batch consume" },
          { concurrency: 16, batch: 100, clear: false },
          floors.deleteOldest(100)
        ),
        step("S11", "send", { ...params, kind: "send" }, { concurrency: 64 }, floors.insertMany(256))
      ], { queues: Math.max(100, Math.min(100_000, level / 10)) })
    })
  }

  const memory: Block = {
    title: "in memory",
    passes,
    until,
    floor: contender("floor", "floor", "plain", [
      special("S14", "txRef", quick ? 1.2 : 3, {}, floors.txRef),
      special("S14", "map", quick ? 0.3 : 3, {}, floors.map)
    ], { database: false }),
    contenders: [
      contender(
        label.memory,
        "ours",
        "msg-store-memory",
        [special("S14", "send + settle", quick ? 2.2 : 5, { queues: 1_000, depth: 0 }, floors.txRef)],
        { database: false }
      ),
      ...quick
        ? []
        : [
          contender(
            label.memory,
            "ours",
            "msg-store-memory",
            [special("S12", "footprint", 1, { messages: 100_000 })],
            { database: false }
          )
        ],
      ...quick ?
        [] :
        [1, 1_000, 100_000].flatMap((queues) =>
          [1, 100_000].filter((depth) => depth * queues <= 100_000).map((depth) =>
            contender(
              label.memory,
              "ours",
              "msg-store-memory",
              ["peek", "send + settle"].map((name) =>
                special("S14", name, 5, { queues, depth, kind: name }, floors.txRef)
              ),
              { database: false, queues }
            )
          )
        )
    ]
  }

  const batches: Block = {
    title: "batches",
    passes,
    until: Infinity,
    floor: table([insertMany(100, 8), insertMany(1_000, 8), deleteOldest(100, 4)]),
    contenders: [
      contender(label.coalescing, "ours", "msg-store", [
        ...[10, 100].flatMap((batch) => [1, 4, 16].map((loops) => takeMany(batch, loops))),
        ...[10, 100, 1_000].flatMap((batch) => [1, 8].map((callers) => sendMany(batch, callers)))
      ]),
      ...Subjects.peers.flatMap((id) =>
        peerModes.map((mode) =>
          contender(label.peer(id, mode), "peer", id, [
            ...[1, 4, 16].map((loops) => takeMany(100, loops)),
            ...[100, 1_000].map((batch) => sendMany(batch, 8))
          ], { options: { mode } })
        )
      )
    ]
  }

  const spread: Block = {
    title: "number of queues",
    passes,
    until: Infinity,
    floor: table([insertMany(256, 2), deleteOldest(100, 4)]),
    contenders: [1, 1_000, 100_000].map((queues) =>
      contender(label.coalescing, "ours", "msg-store", [
        // Ten in each queue, so that a batch is as large everywhere.
        step(
          "S6",
          "take",
          { queues, kind: "batch consume" },
          { concurrency: 16, batch: 10, prepare: Math.max(10 * queues, 100_000) },
          floors.deleteOldest(100)
        ),
        { ...cycle(64), scenario: "S6", params: { queues, kind: "cycle" } },
        { ...send(64), scenario: "S6", params: { queues, kind: "send" } }
      ], { queues })
    )
  }

  const sizes = [100, kib, 16 * kib].map((bodyBytes): Block => ({
    title: `bodies of ${bodyBytes} bytes`,
    passes,
    until: Infinity,
    floor: table([insertMany(256, 1), insertMany(256, 2), insertMany(100, 8), deleteOldest(100, 4)], { bodyBytes }),
    contenders: [
      contender(label.coalescing, "ours", "msg-store", [
        { ...send(256), scenario: "S7", params: { bodyBytes, kind: "send" } },
        sendMany(100, 8, "S7", { bodyBytes }),
        takeMany(100, 16, "S7", { bodyBytes })
      ], { bodyBytes })
    ]
  }))

  const selected = select(
    [
      growth,
      latency,
      ...bulk,
      wakeUp,
      memory,
      sends,
      ...quick ? [] : [
        batches,
        spread,
        ...sizes,
        curve,
        footprint,
        idle,
        heldXmin
      ]
    ],
    new Set(only)
  )
  const warm = (contender: Contender): Contender => ({
    ...contender,
    steps: warmed(contender.steps, quick ? 0.9 : 3)
  })
  return selected.map((block) => ({
    ...block,
    floor: block.floor === undefined ? undefined : warm(block.floor),
    contenders: block.contenders.map(warm)
  }))
}

/** A process is cold at its first step. */
const warmed = (steps: ReadonlyArray<Step>, warmUp: number): ReadonlyArray<Step> =>
  steps.map((step, index) =>
    index === 0 && step.action._tag === "Loop" ? { ...step, action: { ...step.action, warmUp } } : step
  )

/** Leaves out what was not asked for, and the floors that nobody is compared with any more. */
export const select = (blocks: ReadonlyArray<Block>, only: ReadonlySet<string>): ReadonlyArray<Block> => {
  if (only.size === 0) return blocks
  return blocks.flatMap((block) => {
    const contenders = block.contenders
      .map((contender) => ({ ...contender, steps: contender.steps.filter(({ scenario }) => only.has(scenario)) }))
      .filter(({ steps }) => steps.length > 0)
    if (contenders.length === 0) return []
    const compared = new Set(contenders.flatMap(({ steps }) => steps.map(({ floor }) => floor)))
    const { floor } = block
    if (floor === undefined) return [{ ...block, contenders }]
    const steps = floor.steps.filter(({ floor }) => compared.has(floor))
    // One stays in any case: it tells whether the machine was the same before and after.
    return [{ ...block, contenders, floor: { ...floor, steps: steps.length > 0 ? steps : floor.steps.slice(0, 1) } }]
  })
}
