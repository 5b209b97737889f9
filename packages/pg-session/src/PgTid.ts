/**
 * The value of PostgreSQL's `tid`, the place of a row version in its table (`ctid`). It is good for one statement or
 * transaction: an update and a VACUUM FULL move rows.
 */
export interface Tid {
  /** 0 to 4,294,967,295. */
  readonly block: number
  /** 0 to 65,535. */
  readonly offset: number
}
