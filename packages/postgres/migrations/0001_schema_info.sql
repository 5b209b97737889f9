-- What the migrator knows of an installation, and how the application role gets its rights.

create table :"schema".schema_info (
  version    integer     not null primary key,
  name       text        not null,
  checksum   text        not null, -- SHA-256 of the migration file, in hexadecimal
  applied_at timestamptz not null default clock_timestamp()
);

-- The history of the installation, for roles that may not read tables.
create function :"schema".schema_history() returns table (version integer, name text, checksum text)
language sql stable security definer set search_path = :"schema", pg_temp as $$
  select s.version, s.name, s.checksum from schema_info s order by s.version
$$;

-- The functions of the installation: SECURITY DEFINER and pinned to this schema. Other functions may live in it as well,
-- and are nobody's business here.
create function :"schema"._functions() returns table (name name, signature regprocedure)
language sql stable set search_path = :"schema", pg_temp as $$
  select p.proname, p.oid::regprocedure
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
   where n.nspname = current_schema()
     and p.prosecdef
     and 'search_path=' || quote_ident(current_schema()) || ', pg_temp' = any (p.proconfig)
$$;

-- Takes from PUBLIC what PostgreSQL grants it on every new function. Part of each migration.
create function :"schema"._close_to_public() returns void
language plpgsql volatile set search_path = :"schema", pg_temp as $$
declare
  v_function regprocedure;
begin
  for v_function in select f.signature from _functions() f loop
    execute format('revoke all on function %s from public', v_function);
  end loop;
end $$;

-- Lets a role use the installation: USAGE on the schema, EXECUTE on the functions that are not private, and for imports INSERT
-- into the staging table, which it cannot read. Run it as the owner, again after each migration:
-- select restante._grant_to('app').
create function :"schema"._grant_to(p_role name) returns void
language plpgsql volatile set search_path = :"schema", pg_temp as $$
declare
  v_function regprocedure;
begin
  execute format('grant usage on schema %I to %I', current_schema(), p_role);
  for v_function in select f.signature from _functions() f where f.name not like '\_%' loop
    execute format('grant execute on function %s to %I', v_function, p_role);
  end loop;
  execute format(
    'grant insert (queue_key, sequence, n, ts, notify, message_id, body) on import_messages to %I', p_role
  );
end $$;

-- The helpers themselves are no SECURITY DEFINER, and only the owner could use what they do; still they are private.
revoke all on function :"schema"._functions() from public;
revoke all on function :"schema"._close_to_public() from public;
revoke all on function :"schema"._grant_to(name) from public;
