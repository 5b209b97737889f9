-- Export and import of a whole store (spec/msg-store.md, section 8, rule 10.11).
--
-- An import is one transaction of the client. Per piece of the file: import_create and import_find for the queues, where
-- needed, then a COPY of the messages of queues that were there into import_messages, and of those of queues that the import
-- has created into a table of the transaction, from where import_take stores them at once. At the end import_recall,
-- import_lock, import_append and import_finish, each called until it answers 'done': each call is bounded, so that
-- statement_timeout applies to a piece of the work whatever the size of the file. Queues that exist are locked in the end
-- only, in recipient id order.
--
-- A message of a created queue can be stored as it comes, in whatever order, because its sequence is its own: nothing was
-- there before, and rule 8.5 leaves a sequence alone that no other entry of the queue has. Where one has, or an id occurs
-- twice, an index refuses it. Then what was stored of its queue is recalled, and goes the way of all others.
--
-- Imports of one schema run one after the other, under an advisory lock: they create queues in the order of their files, and
-- two of them could wait for each other's ids. Nobody else who waits for an id of a new queue holds anything meanwhile.
--
-- Trap: the staging tables are filled and emptied within one transaction, so their statistics always say that they are
-- empty, and a join of two of them is planned as a loop over all pairs. So nothing here joins: per queue there is a loop, and
-- entries are read in the order of an index, in which sequences are dealt out by window functions.

-- Messages on their way in. The application role may insert into all columns but the first, and do nothing else: which import
-- a row belongs to is the server's to say, so rows that somebody committed here without an import are nobody's. Unlogged: no
-- row outlives its transaction, for a merge removes what it has merged, and everything else is rolled back. The space comes
-- back by autovacuum; TRUNCATE would be quicker, but it waits for everybody who reads the table, a backup above all.
create unlogged table :"schema".import_messages (
  import     xid8    not null default pg_current_xact_id(),
  queue_key  bigint  not null,
  sequence   bigint  not null, -- as the file has it; 0 if it has none
  n          bigint  not null, -- position in the file
  ts         bigint  not null,
  notify     boolean not null,
  message_id bytea   not null,
  body       bytea   not null,
  primary key (import, queue_key, sequence, n)
);
alter table :"schema".import_messages alter column body set storage external;

-- The queues that a file names, and how far each is.
create unlogged table :"schema".import_queues (
  import          xid8    not null default pg_current_xact_id(),
  recipient_id    bytea   not null,
  queue_key       bigint, -- null: only refused queue lines so far
  refused         boolean not null default false, -- a queue line was refused, and with it every later entry
  created         boolean not null default false,
  -- Its messages are stored as they come; else they wait in import_messages, but for those still to be recalled.
  direct          boolean not null default false,
  lines           bigint  not null default 0, -- queue lines taken
  last_sequence   bigint, -- last assigned; null unless the queue was created here, or is locked
  stored          bigint  not null default 0, -- ordinary messages before
  appended        bigint  not null default 0,
  first_appended  bigint,
  -- The marker that was there.
  marker_sequence bigint,
  marker_id       bytea,
  marker_ts       bigint,
  -- The file's last one.
  file_sequence   bigint,
  file_n          bigint,
  file_id         bytea,
  file_ts         bigint,
  primary key (import, recipient_id)
) with (fillfactor = 50); -- each is updated once or twice: on its page, without touching an index
-- Without the first column of the key: where two indexes begin alike, and the table is thought to be empty, the wrong one
-- looks as good, and walks all queues of the import. No rows but those of one's own import are visible: _import_alone.
create index import_queues_key on :"schema".import_queues (queue_key);

---------------------------------------------------------------------------------------------------------------- private

-- One import of a schema at a time. Waits for as long as lock_timeout allows. Whatever is visible at the start was committed
-- by somebody who has called these functions by himself, and is removed: it would be found beside the queues of this import.
create function :"schema"._import_alone() returns void
language plpgsql volatile security definer set search_path = :"schema", pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('restante import: ' || current_schema(), 0));
  if not exists (select from import_queues i where i.import = pg_current_xact_id()) then
    delete from import_queues;
  end if;
end $$;

-- The id of a marker that has none of its own (rule 8.5, step 5).
create function :"schema"._derived_id(p_recipient_id bytea, p_message_id bytea) returns bytea
language plpgsql immutable security definer set search_path = :"schema", pg_temp as $$
begin
  return substring(
    sha256(
      'restante-quota'::bytea
        || set_byte('\x00', 0, octet_length(p_recipient_id)) || p_recipient_id
        || set_byte('\x00', 0, octet_length(p_message_id)) || p_message_id
    )
    from 1 for 24
  );
end $$;

---------------------------------------------------------------------------------------------------------------- staging

-- Takes the queue lines of a page, in order: creates queues, so that their ids are reserved from now on. Outcomes by position
-- (from 1): created, existing (this very pair is there), conflict; and whether this import has created the queue. The key is
-- missing if an earlier line of the file was refused, because then every later entry of that recipient id is.
create function :"schema".import_create(
  p_recipient_ids bytea[], p_sender_ids bytea[], p_quotas integer[], p_status text[], p_created_at bigint[],
  p_updated_at bigint[], p_next_sequences bigint[]
)
returns table (ordinal integer, outcome text, queue_key bigint, created boolean)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off set enable_nestloop = off as $$
#variable_conflict use_column
declare
  v_line          record;
  v_key           bigint;
  v_keys          bigint[];
  v_recipient_ids bytea[];
  v_sender_ids    bytea[];
  v_all           boolean;
begin
  perform _import_alone();
  if exists (
    select from unnest(p_recipient_ids, p_sender_ids) l(recipient_id, sender_id) where l.recipient_id = l.sender_id
  ) then
    raise check_violation using message = 'the two ids of a queue must differ';
  end if;

  with made as (
    insert into queues (recipient_id, sender_id, quota, status, created_at, updated_at, next_sequence)
    select l.recipient_id, l.sender_id, l.quota, l.status, l.created_at, l.updated_at, l.next_sequence
      from unnest(
             p_recipient_ids, p_sender_ids, p_quotas, p_status, p_created_at, p_updated_at, p_next_sequences
           ) with ordinality
             as l(recipient_id, sender_id, quota, status, created_at, updated_at, next_sequence, n)
     order by l.n
    on conflict do nothing
    returning recipient_id, sender_id, key
  ), noted as (
    insert into import_queues (recipient_id, queue_key, created, direct, lines, last_sequence)
    select m.recipient_id, m.key, true, true, 1, 0
      from made m
    on conflict (import, recipient_id) do update
       set queue_key = excluded.queue_key, created = true, direct = true, lines = 1, last_sequence = 0,
           file_sequence = null, file_n = null, file_id = null, file_ts = null
    returning refused
  )
  -- Keys are given in the order of the lines.
  select array_agg(m.key order by m.key), array_agg(m.recipient_id::bytea order by m.key),
         array_agg(m.sender_id::bytea order by m.key),
         count(*) = cardinality(p_recipient_ids) and not exists (select from noted n where n.refused)
    into v_keys, v_recipient_ids, v_sender_ids, v_all
    from made m;
  if v_all then
    -- Mostly so. The rest takes as long again.
    return query
      select k.n::integer, 'created', k.key, true
        from unnest(v_keys) with ordinality k(key, n);
    return;
  end if;

  for v_line in
    select l.n, l.recipient_id, l.sender_id, m.key,
           (
             select i.refused
               from import_queues i
              where i.queue_key = m.key
           ) as refused,
           row_number() over (partition by m.key order by l.n) as nth
      from unnest(p_recipient_ids, p_sender_ids) with ordinality l(recipient_id, sender_id, n)
      left join unnest(v_keys, v_recipient_ids, v_sender_ids) m(key, recipient_id, sender_id)
             on m.recipient_id = l.recipient_id and m.sender_id = l.sender_id
     order by l.n
  loop
    ordinal := v_line.n;
    if v_line.key is not null and v_line.nth = 1 then
      outcome := 'created';
      queue_key := case when not v_line.refused then v_line.key end;
      created := true;
    else
      select q.key into v_key
        from queues q
       where q.recipient_id = v_line.recipient_id and q.sender_id = v_line.sender_id and q.deleted_at is null;
      if found then
        outcome := 'existing';
        insert into import_queues as i (recipient_id, queue_key, lines)
        values (v_line.recipient_id, v_key, 1)
        on conflict (import, recipient_id) do update
           set queue_key = coalesce(i.queue_key, excluded.queue_key), lines = i.lines + 1
        returning case when not i.refused then i.queue_key end, i.created into queue_key, created;
      else
        queue_key := null;
        created := false;
        outcome := 'conflict';
        insert into import_queues (recipient_id, refused)
        values (v_line.recipient_id, true)
        on conflict (import, recipient_id) do update set refused = true;
      end if;
    end if;
    return next;
  end loop;
end $$;

-- Looks up the queues that entries of a page belong to. Outcomes by position (from 1): created (by this import), found,
-- not_found.
create function :"schema".import_find(p_recipient_ids bytea[])
returns table (ordinal integer, outcome text, queue_key bigint)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  v_recipient_id bytea;
begin
  perform _import_alone();
  ordinal := 0;
  foreach v_recipient_id in array p_recipient_ids loop
    ordinal := ordinal + 1;
    insert into import_queues (recipient_id, queue_key)
    select q.recipient_id, q.key
      from queues q
     where q.recipient_id = v_recipient_id and q.deleted_at is null
    on conflict do nothing;
    queue_key := null;
    outcome := 'not_found';
    select case when i.created then 'created' else 'found' end, i.queue_key into outcome, queue_key
      from import_queues i
     where i.import = pg_current_xact_id() and i.recipient_id = v_recipient_id
       and i.queue_key is not null and not i.refused;
    outcome := coalesce(outcome, 'not_found');
    return next;
  end loop;
end $$;

-- Takes the markers of a page; of those of one queue the last in the order of the import counts. Outcome: taken.
create function :"schema".import_markers(
  p_queue_keys bigint[], p_sequences bigint[], p_ns bigint[], p_ts bigint[], p_message_ids bytea[], out outcome text
)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  for v_i in 1 .. cardinality(p_queue_keys) loop
    update import_queues i
       set file_sequence = p_sequences[v_i], file_n = p_ns[v_i], file_id = p_message_ids[v_i], file_ts = p_ts[v_i]
     where i.queue_key = p_queue_keys[v_i]
       and (i.file_n is null or (i.file_sequence, i.file_n) < (p_sequences[v_i], p_ns[v_i]));
  end loop;
  outcome := 'taken';
end $$;

-- Makes the table for messages of created queues: of this transaction, in memory, and emptied by truncating it, which nobody
-- else can mind. The rows may come from the application, which is the only one that finds its way there.
-- Outcomes: made; none, if there can be no such table, and then everything goes to import_messages.
create function :"schema".import_open(out outcome text)
language plpgsql volatile security definer set search_path = :"schema", pg_temp as $$
begin
  begin
    create temporary table restante_import (
      queue_key  bigint  not null,
      sequence   bigint  not null,
      n          bigint  not null,
      ts         bigint  not null,
      notify     boolean not null,
      message_id bytea   not null,
      body       bytea   not null
    ) on commit drop;
    alter table pg_temp.restante_import alter column body set storage external;
    grant insert on pg_temp.restante_import to public;
  exception when insufficient_privilege or duplicate_table then
    outcome := 'none';
    return;
  end;
  outcome := 'made';
end $$;

-- Stores the messages that were copied into the table of the transaction, if all are of queues that can take them as they come.
-- Otherwise they are put with those that wait for the merge, and what is stored already of their queues is to be recalled.
-- Outcomes: taken, staged.
--
-- A message of 1 KiB takes 10 to 11 µs of the server's processor time, in pieces of 4,000: 2.2 to be copied into the table, 2.9 for
-- the two indexes, 2.0 for the row, 1.2 of them for the next page of the table, 0.3 for the sums of its queue, 0.7 to create and
-- finish the queues if each has 100 messages, and the rest for the journal and the executor. What was tried, in µs (PostgreSQL
-- 18.4, two busy cores, 2026-11-21; COPY into a bare table with the primary key: 5.7):
--   through a table of the transaction                                       10.0 to 10.6   <- this one; by 1,000: 13.2
--   through an unlogged table with TRUNCATE, without the second index         8.9           locks out whoever reads it
--   the same with DELETE                                                     14
--   arrays as parameters of a function                                        9.7           and 12 µs more in the client
--   bodies as one parameter, cut up by the server                             8.3           and 4 µs more in the client
--   through import_messages for every message                                21             indexes twice, rows deleted
--   COPY into messages                                                        8.4           the application must not
create function :"schema".import_take(out outcome text)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_keys   bigint[];
  v_counts bigint[];
  v_firsts bigint[];
  v_lasts  bigint[];
  v_direct boolean;
begin
  -- Whoever has made a table of this name himself could have his own code run here, with the rights of the owner.
  if not exists (
    select from pg_catalog.pg_class c
     where c.oid = to_regclass('pg_temp.restante_import') and c.relkind = 'r'
       and c.relowner = (select r.oid from pg_catalog.pg_roles r where r.rolname = current_user)
  ) then
    raise exception 'import_take without import_open' using errcode = 'object_not_in_prerequisite_state';
  end if;
  select array_agg(k.queue_key), array_agg(k.count), array_agg(k.first), array_agg(k.last),
         bool_and(k.first > 0 and coalesce((
           select i.direct
             from import_queues i
            where i.queue_key = k.queue_key
         ), false))
    into v_keys, v_counts, v_firsts, v_lasts, v_direct
    from (
      select e.queue_key, count(*) as count, min(e.sequence) as first, max(e.sequence) as last
        from pg_temp.restante_import e
       group by e.queue_key
    ) k;
  if v_direct then
    begin
      insert into messages (queue_key, sequence, ts, kind, notify, message_id, body)
      select e.queue_key, e.sequence, e.ts, 'm', e.notify, e.message_id, e.body
        from pg_temp.restante_import e;
      outcome := 'taken';
    exception when unique_violation then
      outcome := 'staged';
    end;
  else
    outcome := 'staged';
  end if;
  if outcome = 'staged' then
    insert into import_messages (queue_key, sequence, n, ts, notify, message_id, body)
    select e.queue_key, e.sequence, e.n, e.ts, e.notify, e.message_id, e.body
      from pg_temp.restante_import e;
  end if;
  for v_i in 1 .. coalesce(cardinality(v_keys), 0) loop
    if outcome = 'taken' then
      update import_queues i
         set last_sequence = greatest(i.last_sequence, v_lasts[v_i]),
             appended = i.appended + v_counts[v_i],
             first_appended = least(i.first_appended, v_firsts[v_i])
       where i.queue_key = v_keys[v_i];
    else
      update import_queues i
         set direct = false
       where i.queue_key = v_keys[v_i];
    end if;
  end loop;
  truncate pg_temp.restante_import;
end $$;

---------------------------------------------------------------------------------------------------------------- merging

-- Moves messages that import_take has stored, of queues that turned out to need the merge, to where it looks for them: of the
-- queues after a recipient id, and at most so many messages of one of them. They come before everything of that queue in the
-- file that has the same sequence. Outcomes: more (with the id to go on after), done.
create function :"schema".import_recall(p_after bytea, p_limit integer, out outcome text, out last bytea)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_import import_queues;
  v_moved  bigint;
begin
  select i.* into v_import
    from import_queues i
   where i.import = pg_current_xact_id() and i.recipient_id > p_after
     and i.created and not i.direct and i.appended > 0
   order by i.recipient_id
   limit 1;
  if not found then
    outcome := 'done';
    return;
  end if;
  with moved as (
    delete from messages m
     where m.queue_key = v_import.queue_key
       and m.sequence <= coalesce((
         select l.sequence
           from messages l
          where l.queue_key = v_import.queue_key and l.sequence >= v_import.first_appended
          order by l.sequence
         offset p_limit - 1
          limit 1
       ), v_import.last_sequence)
    returning m.*
  )
  insert into import_messages (queue_key, sequence, n, ts, notify, message_id, body)
  select m.queue_key, m.sequence, -1, m.ts, m.notify, m.message_id, m.body
    from moved m;
  get diagnostics v_moved = row_count;
  if v_moved < p_limit then
    v_import.appended := 0;
    v_import.last_sequence := 0;
    v_import.first_appended := null;
    last := v_import.recipient_id;
  else
    v_import.appended := greatest(v_import.appended - v_moved, 1);
    -- What was moved is not walked again.
    select m.sequence into v_import.first_appended
      from messages m
     where m.queue_key = v_import.queue_key and m.sequence > v_import.first_appended
     order by m.sequence
     limit 1;
    v_import.first_appended := coalesce(v_import.first_appended, v_import.last_sequence);
    last := p_after;
  end if;
  update import_queues i
     set appended = v_import.appended, last_sequence = v_import.last_sequence, first_appended = v_import.first_appended
   where i.import = v_import.import and i.recipient_id = v_import.recipient_id;
  outcome := 'more';
end $$;

-- Locks the queues that were there before the import, those after a recipient id and at most so many, and notes how they
-- are. What is gone by now stays without a last sequence, and what was staged for it is discarded.
-- Outcomes: more (with the id to go on after), done.
create function :"schema".import_lock(p_after bytea, p_limit integer, out outcome text, out last bytea)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_import import_queues;
  v_queue  queues;
  v_tail   messages;
  v_left   integer := p_limit;
begin
  for v_import in
    select i.*
      from import_queues i
     where i.import = pg_current_xact_id() and i.recipient_id > p_after
       and not i.created and i.queue_key is not null
     order by i.recipient_id
     limit p_limit
  loop
    v_left := v_left - 1;
    last := v_import.recipient_id;
    select q.* into v_queue
      from queues q
     where q.recipient_id = v_import.recipient_id and q.key = v_import.queue_key and q.deleted_at is null
       for no key update;
    continue when not found;
    for v_try in 1 .. 2 loop
      select m.* into v_tail
        from messages m
       where m.queue_key = v_queue.key and m.sequence >= v_queue.head_sequence
       order by m.sequence desc
       limit 1;
      exit when v_try = 2
             or not ((v_queue.size = 0) <> (v_tail.sequence is null)
                     or v_queue.latched <> coalesce(v_tail.kind = 'q', false)
                     or v_tail.sequence >= v_queue.next_sequence);
      v_queue := _recount(v_queue);
    end loop;
    update import_queues i
       set last_sequence = v_queue.next_sequence - 1,
           stored = v_queue.size - v_queue.latched::integer,
           marker_sequence = case when v_queue.latched then v_tail.sequence end,
           marker_id = case when v_queue.latched then v_tail.message_id end,
           marker_ts = case when v_queue.latched then v_tail.ts end
     where i.import = v_import.import and i.recipient_id = v_import.recipient_id;
  end loop;
  outcome := case when v_left = 0 then 'more' else 'done' end;
end $$;

-- Appends staged messages to their queues, those after a position and at most so many, and takes them out of the staging table. Outcomes: more (with the position to go on after), done.
--
-- Whether a message is stored already is found out by storing it: the index on ids, which has to be looked at anyway, refuses
-- it, and then the duplicates of the piece are sought, counted and removed before a second attempt.
create function :"schema".import_append(
  p_after_key bigint, p_after_sequence bigint, p_after_n bigint, p_limit integer,
  out outcome text, out duplicates bigint,
  out last_key bigint, out last_sequence bigint, out last_n bigint
)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  v_import     xid8 := pg_current_xact_id();
  v_queue      record;
  v_marker     bigint;
  v_duplicates tid[];
  v_marked     bigint[];
  v_key        bigint;
begin
  duplicates := 0;
  select e.queue_key, e.sequence, e.n into last_key, last_sequence, last_n
    from (
      select e.queue_key, e.sequence, e.n
        from import_messages e
       where e.import = v_import and (e.queue_key, e.sequence, e.n) > (p_after_key, p_after_sequence, p_after_n)
       order by e.queue_key, e.sequence, e.n
       limit p_limit
    ) e
   order by e.queue_key desc, e.sequence desc, e.n desc
   limit 1;
  if not found then
    outcome := 'done';
    return;
  end if;
  outcome := 'more';

  for v_try in 1 .. 2 loop
    begin
      for v_queue in
        with stored as (
          insert into messages (queue_key, sequence, ts, kind, notify, message_id, body)
          -- The i-th message of the piece goes to max(own, last assigned + 1), which is i plus the largest (own - i) up to
          -- it; the queue's last sequence counts as that of the message before the first.
          select e.queue_key, e.i + e.shift, e.ts, 'm', e.notify, e.message_id, e.body
            from (
              select e.*,
                     max(greatest(e.sequence - e.i, e.base)) over w as shift,
                     max(e.base) over w as known
                from (
                  select e.*,
                         case when e.i = 1 then (
                           select q.last_sequence
                             from import_queues q
                            where q.queue_key = e.queue_key
                         ) end as base
                    from (
                      select e.*, row_number() over w as i
                        from import_messages e
                       where e.import = v_import
                         and (e.queue_key, e.sequence, e.n) > (p_after_key, p_after_sequence, p_after_n)
                         and (e.queue_key, e.sequence, e.n) <= (last_key, last_sequence, last_n)
                      window w as (partition by e.queue_key order by e.sequence, e.n)
                    ) e
                ) e
              window w as (partition by e.queue_key order by e.sequence, e.n)
            ) e
           where e.known is not null
          returning queue_key, sequence
        )
        select s.queue_key, count(*) as appended, min(s.sequence) as first, max(s.sequence) as last
          from stored s
         group by s.queue_key
      loop
        update import_queues q
           set last_sequence = v_queue.last,
               appended = q.appended + v_queue.appended,
               first_appended = coalesce(q.first_appended, v_queue.first)
         where q.queue_key = v_queue.queue_key
        returning q.marker_sequence into v_marker;
        if v_marker is not null then
          -- A marker is the last entry. Where it goes now is for import_finish to say.
          delete from messages m where m.queue_key = v_queue.queue_key and m.sequence = v_marker;
        end if;
      end loop;
      exit;
    exception when unique_violation then
      if v_try = 2 then
        raise;
      end if;
    end;

    select array_agg(e.at) filter (where e.nth > 1 or e.kind = 'm'),
           count(*) filter (where (e.nth > 1 or e.kind = 'm') and e.is_live),
           array_agg(e.queue_key) filter (where e.nth = 1 and e.kind = 'q')
      into v_duplicates, duplicates, v_marked
      from (
        select e.ctid as at, e.queue_key,
               row_number() over (partition by e.queue_key, e.message_id order by e.sequence, e.n) as nth,
               (
                 select m.kind
                   from messages m
                  where int8send(m.queue_key) || m.message_id = int8send(e.queue_key) || e.message_id
               ) as kind,
               (
                 select q.last_sequence
                   from import_queues q
                  where q.queue_key = e.queue_key
               ) is not null as is_live
          from import_messages e
         where e.import = v_import
           and (e.queue_key, e.sequence, e.n) > (p_after_key, p_after_sequence, p_after_n)
           and (e.queue_key, e.sequence, e.n) <= (last_key, last_sequence, last_n)
      ) e;
    delete from import_messages e where e.ctid = any (v_duplicates);
    -- A message with the id of the marker is no duplicate, and it makes the marker go. Which has to come first here.
    foreach v_key in array coalesce(v_marked, '{}') loop
      delete from messages m
       where m.queue_key = v_key
         and m.sequence = (
           select q.marker_sequence from import_queues q where q.queue_key = v_key
         );
    end loop;
  end loop;

  delete from import_messages e
   where e.import = v_import
     and (e.queue_key, e.sequence, e.n) > (p_after_key, p_after_sequence, p_after_n)
     and (e.queue_key, e.sequence, e.n) <= (last_key, last_sequence, last_n);
end $$;

-- Ends queues, those after a recipient id and at most so many: decides on the latch, places markers, and writes the records.
-- Answers how many were created, how many queue lines were of others, how many messages were stored, and how many queues are
-- latched. With p_notify, the readers of
-- queues that were empty are notified (rule 10.9).
-- Outcomes: more (with the id to go on after), done.
create function :"schema".import_finish(
  p_after bytea, p_limit integer, p_default_quota integer, p_notify boolean,
  out outcome text, out last bytea, out created bigint, out existing bigint, out messages bigint,
  out latched bigint
)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  v_import   import_queues;
  v_queue    queues;
  v_ordinary bigint;
  v_latched  boolean;
  v_last     messages;
  v_id       bytea;
  v_first    bigint;
  v_queues   queues[] := '{}';
  v_markers  messages[] := '{}';
  v_woken    bytea[] := '{}';
  v_left     integer := p_limit;
begin
  created := 0;
  existing := 0;
  messages := 0;
  latched := 0;
  for v_import in
    select i.*
      from import_queues i
     where i.import = pg_current_xact_id() and i.recipient_id > p_after
     order by i.recipient_id
     limit p_limit
  loop
    v_left := v_left - 1;
    last := v_import.recipient_id;
    continue when v_import.last_sequence is null;
    created := created + v_import.created::integer;
    existing := existing + v_import.lines - v_import.created::integer;
    messages := messages + v_import.appended;
    if v_import.appended = 0 and v_import.file_id is null then
      latched := latched + (v_import.marker_id is not null)::integer;
      continue;
    end if;

    select q.* into v_queue from queues q where q.recipient_id = v_import.recipient_id;
    v_ordinary := v_import.stored + v_import.appended;
    v_latched := v_import.marker_id is not null or v_import.file_id is not null
              or v_ordinary > coalesce(v_queue.quota, p_default_quota);
    latched := latched + v_latched::integer;
    -- There is one, it is the last entry, and nothing came behind it.
    continue when v_import.marker_id is not null and v_import.appended = 0;

    v_first := v_import.first_appended;
    if v_latched then
      v_import.last_sequence := greatest(v_import.last_sequence + 1, v_import.file_sequence);
      v_first := coalesce(v_first, v_import.last_sequence);
      v_last := null;
      select m.* into v_last
        from messages m
       where m.queue_key = v_import.queue_key and m.sequence >= v_queue.head_sequence
       order by m.sequence desc
       limit 1;
      v_id := coalesce(v_import.file_id, v_import.marker_id);
      -- Only a forged file makes this go round twice.
      while v_id is null or exists (
        select from messages m
         where int8send(m.queue_key) || m.message_id = int8send(v_import.queue_key) || v_id
      ) loop
        v_last.message_id := _derived_id(v_import.recipient_id, v_last.message_id);
        v_id := v_last.message_id;
      end loop;
      v_last.queue_key := v_import.queue_key;
      v_last.sequence := v_import.last_sequence;
      v_last.ts := coalesce(v_import.file_ts, v_import.marker_ts, v_last.ts);
      v_last.kind := 'q';
      v_last.notify := false;
      v_last.message_id := v_id;
      v_last.body := '';
      v_markers := v_markers || v_last;
    end if;

    v_queue.size := v_ordinary + v_latched::integer;
    v_queue.latched := v_latched;
    -- A queue that was created has the number of its queue line already.
    v_queue.next_sequence := greatest(v_queue.next_sequence, v_import.last_sequence + 1);
    if v_import.stored = 0 then
      v_queue.head_sequence := v_first;
    end if;
    v_queues := v_queues || v_queue;
    if v_import.stored = 0 and v_import.marker_id is null and not v_import.created then
      v_woken := v_woken || v_import.recipient_id;
    end if;
  end loop;
  insert into messages
  select m.*
    from unnest(v_markers) m;
  -- An update of all of them, by way of the conflict that each meets, because that needs no join. Trap: one by one they take
  -- ten times as long, since every statement reads the check constraints of its table anew, and this one has many.
  insert into queues overriding system value
  select c.*
    from unnest(v_queues) c
  on conflict (recipient_id) do update
     set size = excluded.size,
         latched = excluded.latched,
         next_sequence = excluded.next_sequence,
         head_sequence = excluded.head_sequence;
  if p_notify and cardinality(v_woken) > 0 then
    perform _notify_arrivals(v_woken);
  end if;
  outcome := case when v_left = 0 then 'more' else 'done' end;
  delete from import_queues i
   where i.import = pg_current_xact_id() and i.recipient_id > p_after and i.recipient_id <= last;
end $$;

-------------------------------------------------------------------------------------------------------------- exporting

-- Live queues in recipient id order, each with its entries: those after a position, as many queues and entries as p_limit
-- says. The position is a recipient id and a sequence, 0 before the first entry; a queue that it is within comes again, with
-- the entries that are left. Fewer than p_limit: that is all.
-- Kinds of entries, a letter each: m (message), q (quota marker), ! (damaged), > (the body has more than p_max_bytes). The last
-- two have no body.
-- A limit for each body, and none for their sum: to sum up, the server would copy every row once more.
--
-- Entries come as arrays. One by one they cost the server as much, for it puts every row aside before the first is sent, and
-- the client 2 to 3 µs more each, for a message of the protocol. Per message of 1 KiB, server and client, in µs of processor
-- time (PostgreSQL 18.4, two busy cores, 2026-11-21):
--   arrays                                  4.1 + 4.5
--   rows, by return query                   4.0 + 7.3
--   the same, with a sum of the bodies      4.6 + 7.5
--   rows, by return next                    5.0 + 7.5
--   COPY of a bare table                    1.5 + 4.5
create function :"schema".export_page(
  p_after_recipient_id bytea, p_after_sequence bigint, p_limit integer, p_max_bytes bigint
)
returns table (
  recipient_id bytea, sender_id bytea, quota integer, status text, created_at bigint, updated_at bigint,
  next_sequence bigint, kinds text, sequences bigint[], message_ids bytea[], ts bigint[], notifies boolean[], bodies bytea[]
)
language plpgsql stable security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  v_queue queues;
  v_left  bigint := p_limit;
  v_after bigint := p_after_sequence;
begin
  for v_queue in
    select q.*
      from queues q
     where q.recipient_id >= p_after_recipient_id and q.deleted_at is null
     order by q.recipient_id
  loop
    if v_queue.recipient_id <> p_after_recipient_id then
      v_left := v_left - 1;
      v_after := 0;
    end if;
    recipient_id := v_queue.recipient_id;
    sender_id := v_queue.sender_id;
    quota := v_queue.quota;
    status := v_queue.status;
    created_at := v_queue.created_at;
    updated_at := v_queue.updated_at;
    next_sequence := v_queue.next_sequence;
    select coalesce(string_agg(m.kind, ''), ''), coalesce(array_agg(m.sequence), '{}'),
           coalesce(array_agg(m.message_id), '{}'), coalesce(array_agg(m.ts), '{}'),
           coalesce(array_agg(m.notify), '{}'), coalesce(array_agg(case when m.kind in ('m', 'q') then m.body end), '{}')
      into kinds, sequences, message_ids, ts, notifies, bodies
      from (
        select case
                 when _is_sound(m.message_id, m.ts, m.kind, m.notify, m.body) is not true then '!'
                 when octet_length(m.body) > p_max_bytes then '>'
                 else m.kind::text
               end as kind,
               m.sequence, m.message_id::bytea as message_id, m.ts::bigint as ts, m.notify, m.body::bytea as body
          from messages m
         where m.queue_key = v_queue.key and m.sequence >= v_queue.head_sequence and m.sequence > v_after
         order by m.sequence
         limit v_left
      ) m;
    return next;
    v_left := v_left - cardinality(sequences);
    exit when v_left <= 0;
  end loop;
end $$;
