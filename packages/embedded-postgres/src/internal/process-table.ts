/** What the operating system knows about processes that are not our children. */
import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"

export interface Entry {
  readonly pid: number
  readonly parent: number
  /** One letter: `Z` ended but not reaped, `T` stopped. */
  readonly state: string
  /** With the pid it names a process for good: pids are used again. */
  readonly born: string
  readonly name: string
}

const hasProc = existsSync("/proc/self/stat")

const fromProc = (pid: number): Entry | undefined => {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, "utf8")
    // Trap: the name is in parentheses and may itself contain spaces and parentheses; fields count from the last one.
    const open = line.indexOf("(")
    const close = line.lastIndexOf(")")
    const fields = line.slice(close + 2).split(" ")
    return {
      pid,
      parent: Number(fields[1]),
      state: fields[0] ?? "",
      born: fields[19] ?? "",
      name: line.slice(open + 1, close)
    }
  } catch {
    return undefined
  }
}

const fromPs = (selection: ReadonlyArray<string>): ReadonlyArray<Entry> => {
  try {
    const output = execFileSync("ps", [...selection, "-o", "pid=,ppid=,state=,lstart=,comm="], {
      encoding: "utf8",
      env: { ...process.env, LC_ALL: "C" },
      stdio: ["ignore", "pipe", "ignore"]
    })
    return output.split("\n").flatMap((line) => {
      // lstart is five words: Fri Nov 20 14:07:25 2026
      const match = /^\s*(\d+)\s+(\d+)\s+(\S)\S*\s+((?:\S+\s+){4}\S+)\s+(.*)$/.exec(line)
      return match === null ? [] : [{
        pid: Number(match[1]),
        parent: Number(match[2]),
        state: match[3] ?? "",
        born: match[4] ?? "",
        name: (match[5] ?? "").trim().split("/").at(-1) ?? ""
      }]
    })
  } catch {
    return []
  }
}

/** The process with this pid; `undefined` if there is none. */
export const find = (pid: number): Entry | undefined => hasProc ? fromProc(pid) : fromPs(["-p", String(pid)])[0]

export const childrenOf = (parent: number): ReadonlyArray<Entry> => {
  const all = hasProc
    ? readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => fromProc(Number(name)) ?? [])
    : fromPs(["-A"])
  return all.filter((entry) => entry.parent === parent)
}

/** True if this very process is running: not ended, not a zombie, and its pid not used by another one meanwhile. */
export const isRunning = (entry: Entry): boolean => {
  const now = find(entry.pid)
  return now !== undefined && now.born === entry.born && now.state !== "Z" && now.state !== "X"
}

/**
 * Whether the process may be a PostgreSQL server working in this data directory. In doubt the answer is yes: the
 * caller would otherwise start a second server on the same files.
 */
export const mayServe = (pid: number, dataDirectory: string): boolean => {
  const entry = find(pid)
  if (entry === undefined || entry.state === "Z" || entry.state === "X") return false
  if (hasProc) {
    try {
      // A server's working directory is its data directory. This also tells two servers of the same user apart.
      const here = statSync(dataDirectory)
      const there = statSync(`/proc/${pid}/cwd`)
      return here.dev === there.dev && here.ino === there.ino
    } catch {
      return entry.name.startsWith("postgres")
    }
  }
  return entry.name.startsWith("postgres")
}

/** Sends a signal; false if there is no such process any more. */
export const signal = (pid: number, name: NodeJS.Signals): boolean => {
  try {
    return process.kill(pid, name)
  } catch {
    return false
  }
}
