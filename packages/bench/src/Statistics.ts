/**
 * What is said of several samples: the median, never the best.
 */

/** None if there are no values. */
export const median = (values: ReadonlyArray<number>): number | undefined => {
  const sorted = values.toSorted((a, b) => a - b)
  const upper = sorted[Math.floor(sorted.length / 2)]
  const lower = sorted[Math.floor((sorted.length - 1) / 2)]
  return upper === undefined || lower === undefined ? undefined : (upper + lower) / 2
}

/** By how much two measurements of one thing differ, against their mean. */
export const drift = (before: number, after: number): number => Math.abs(before - after) / ((before + after) / 2)

/** A floor that moves by more between its two measurements makes what is between them unsteady (spec 4). */
export const steadyLimit = 0.15
