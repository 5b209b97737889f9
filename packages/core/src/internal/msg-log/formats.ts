import type { Format } from "../../MessageLog.ts"
import type { Codec } from "./codec.ts"
import * as Restante from "./restante.ts"
import * as Simplex from "./simplex.ts"

/** The codec of each format. */
export const codecs: { readonly [Name in Format]: Codec } = {
  "restante": Restante.codec,
  "simplex-v3": Simplex.codec
}
