/**
 * A schema as text: what is in it, in an order that depends on nothing but its content. `pg_dump` would have to be as new
 * as the newest server; the catalogue is there with every server.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"

const relations = `
  select case c.relkind when 'r' then 'table ' else 'type ' end || c.relname ||
         coalesce(' with (' || array_to_string(c.reloptions, ', ') || ')', '') || E'\\n' ||
         (select string_agg(
                   '  ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ||
                   case when a.attnotnull then ' not null' else '' end ||
                   case when a.attidentity = 'a' then ' generated always as identity' else '' end ||
                   coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') ||
                   case when a.attstorage <> t.typstorage then ' storage ' || a.attstorage::text else '' end,
                   E'\\n' order by a.attnum)
            from pg_attribute a
            join pg_type t on t.oid = a.atttypid
            left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as text
    from pg_class c
   where c.relnamespace = $1::regnamespace and c.relkind in ('r', 'c')
   order by c.relname`

const domains = `
  select 'domain ' || t.typname || ' as ' || format_type(t.typbasetype, t.typtypmod) ||
         coalesce((select string_agg(' ' || pg_get_constraintdef(c.oid), '' order by c.conname)
                     from pg_constraint c
                    where c.contypid = t.oid and c.contype = 'c'), '') as text
    from pg_type t
   where t.typnamespace = $1::regnamespace and t.typtype = 'd'
   order by t.typname`

// Not-null constraints are rows of their own since PostgreSQL 18; the columns above tell of them on every version.
const constraints = `
  select 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) as text
    from pg_constraint
   where connamespace = $1::regnamespace and contype <> 'n' and conrelid <> 0
   order by conrelid::regclass::text, conname`

const indexes = `
  select indexdef as text from pg_indexes where schemaname = $1 order by indexname`

const functions = `
  select pg_get_functiondef(oid) || E'\\naccess: ' || coalesce(array_to_string(proacl, ', '), 'default') as text
    from pg_proc
   where pronamespace = $1::regnamespace
   order by proname, pg_get_function_identity_arguments(oid)`

/** The text of a schema. The owner's name is written as `owner`. */
export const dump = (schema: string) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const [owner] = yield* sql<{ readonly name: string }>`select current_user as name`
    const parts = yield* Effect.forEach([domains, relations, constraints, indexes, functions], (query) =>
      sql.unsafe<{ readonly text: string }>(query, [schema]))
    return `${
      parts.flat().map((row) => row.text).join("\n\n")
    }\n`.replaceAll(`${owner?.name}=X/${owner?.name}`, "owner=X/owner")
  })
