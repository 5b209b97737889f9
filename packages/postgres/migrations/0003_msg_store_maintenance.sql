-- MsgStore: the operations over all queues (spec/msg-store.md, rules 4.9, 4.11, 4.13, 4.14 and 10.7).
--
-- Each call does a part of the work and says where the next one goes on: a call is one statement, so a batch is committed
-- before the next begins; and it looks at a limited number of rows, so that it ends within the limits of a statement also
-- among millions of queues with nothing to do. Outcomes of these functions: more (go on after "last"), done.

-- Tombstones in the order in which they are compacted. Messages change neither column (HOT, rule 10.8).
create index queues_deleted on :"schema".queues (deleted_at, recipient_id) where deleted_at is not null;

---------------------------------------------------------------------------------------------------------------- expiry

-- Expires queues behind p_after in order of recipient ids, until it has tried p_limit that have something to expire, has
-- looked at 1,000, or has removed 10,000 messages (rule 4.11). Nobody is waited for: what can be expired is found without
-- a lock, and a queue that is locked by somebody else is left to the next run.
-- Two busy cores, PostgreSQL 18.4, all in memory, 2026-11-21: 1,000 queues of 100,000 with nothing to expire
-- 5 ms and 4,500 buffers; 100 queues with 100 messages of 100 bytes each 140 to 180 ms.
create function :"schema".expire_all(
  p_after bytea, p_limit integer, p_before bigint,
  out outcome text, out last bytea, out visited integer, out expired bigint, out skipped integer, out failed integer
)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  c_looked  constant integer := 1000;
  c_removed constant bigint := 10000;
  v_looked  integer := 0;
  v_tried   integer := 0;
  v_queue   record;
  v_removed bigint;
begin
  outcome := 'done';
  visited := 0;
  expired := 0;
  skipped := 0;
  failed := 0;
  for v_queue in
    select q.recipient_id,
           case when q.deleted_at is null then coalesce(
             (select m.kind <> 'q' and m.ts < p_before
                from messages m
               where m.queue_key = q.key and m.sequence >= q.head_sequence
               order by m.sequence
               limit 1),
             -- A head cursor that has run past its entries: they are found when the queue is counted.
             q.size > 0
           ) else false end as expirable
      from queues q
     where q.recipient_id > p_after
     order by q.recipient_id
     limit c_looked
  loop
    last := v_queue.recipient_id;
    v_looked := v_looked + 1;
    continue when not v_queue.expirable;
    v_tried := v_tried + 1;
    -- A subtransaction for each: one that fails is left as it was, and the others are not.
    begin
      perform from queues q
        where q.recipient_id = last and q.deleted_at is null
          for no key update skip locked;
      if found then
        select e.removed into v_removed from delete_expired(last, p_before) e;
        if v_removed > 0 then
          visited := visited + 1;
          expired := expired + v_removed;
        end if;
      elsif exists (select from queues q where q.recipient_id = last and q.deleted_at is null) then
        skipped := skipped + 1;
      end if;
    exception
      when transaction_rollback or read_only_sql_transaction or insufficient_resources or system_error then
        -- Not this queue's own failure: a conflict, which the client repeats, or a server that can do no work.
        raise;
      when others then
        failed := failed + 1;
    end;
    exit when v_tried = p_limit or expired >= c_removed;
  end loop;
  if v_looked = c_looked or v_tried = p_limit or expired >= c_removed then
    outcome := 'more';
  end if;
end $$;

------------------------------------------------------------------------------------------------------------- deletion

-- Removes up to p_limit tombstones that were deleted before p_before (rule 4.9), in order of that time and recipient ids,
-- behind the one that the call before this ended with: so nobody walks what was removed and is not vacuumed yet.
create function :"schema".compact_deleted(
  p_after_deleted_at bigint, p_after bytea, p_limit integer, p_before bigint,
  out outcome text, out last_deleted_at bigint, out last bytea, out removed integer
)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  removed := 0;
  for last_deleted_at, last in
    select q.deleted_at, q.recipient_id
      from queues q
     where q.deleted_at < p_before and (q.deleted_at, q.recipient_id) > (p_after_deleted_at, p_after)
     order by q.deleted_at, q.recipient_id
     limit p_limit
       for update skip locked
  loop
    delete from queues q where q.recipient_id = last;
    removed := removed + 1;
  end loop;
  outcome := case when removed = p_limit then 'more' else 'done' end;
end $$;

----------------------------------------------------------------------------------------------------------- statistics

-- How much there is, from the records alone (rule 4.13). It reads all of them, so it is the one function that may.
create function :"schema".stats(
  out queues bigint, out suspended bigint, out latched bigint, out messages bigint, out markers bigint,
  out tombstones bigint
)
language sql stable security definer set search_path = :"schema", pg_temp as $$
  select count(*) filter (where q.deleted_at is null),
         count(*) filter (where q.deleted_at is null and q.status = 'suspended'),
         count(*) filter (where q.deleted_at is null and q.latched),
         coalesce(sum(q.size - q.latched::integer) filter (where q.deleted_at is null), 0)::bigint,
         count(*) filter (where q.deleted_at is null and q.latched),
         count(*) filter (where q.deleted_at is not null)
    from queues q
$$;

----------------------------------------------------------------------------------------------------------- recounting

-- Where the record of a queue contradicts its entries (outcome drift, with what is stored and what it should be; a latch
-- is 1 or 0), and what is wrong with the entries themselves (outcome violation). No row: nothing.
create function :"schema"._findings(p_queue :"schema".queues)
returns table (outcome text, finding text, stored bigint, actual bigint)
language plpgsql stable security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  v_size      bigint;
  v_first     bigint;
  v_last      bigint;
  v_marker    bigint;
  v_markers   bigint;
  v_malformed bigint;
  v_next      bigint;
begin
  select count(*), min(m.sequence), max(m.sequence),
         max(m.sequence) filter (where m.kind = 'q'), count(*) filter (where m.kind = 'q'),
         count(*) filter (where _is_sound(m.message_id, m.ts, m.kind, m.notify, m.body) is not true)
    into v_size, v_first, v_last, v_marker, v_markers, v_malformed
    from messages m
   where m.queue_key = p_queue.key;
  v_next := greatest(p_queue.next_sequence, v_last + 1);
  return query
    select 'drift', d.finding, d.stored, d.actual
      from (values
        ('size', p_queue.size, v_size),
        ('latched', p_queue.latched::integer::bigint, coalesce(v_marker = v_last, false)::integer::bigint),
        -- A lower bound, which is below the head wherever a removal was followed by none.
        ('headSequence', p_queue.head_sequence, least(p_queue.head_sequence, coalesce(v_first, v_next))),
        ('nextSequence', p_queue.next_sequence, v_next)
      ) d(finding, stored, actual)
     where d.stored <> d.actual
    union all
    select 'violation', p.finding, null, null
      from (values
        ('MarkerNotLast', v_marker < v_last),
        ('SeveralMarkers', v_markers > 1),
        ('MalformedEntry', v_malformed > 0)
      ) p(finding, present)
     where p.present;
end $$;

-- Looks at up to p_limit queues behind p_after, until these have 100,000 entries together: how many are live, and which
-- of them have to be looked at again under their lock (rule 4.14, step 1). All are seen as they were at one instant.
-- Same machine: 100 queues with 200 entries together 5 ms and 630 buffers; 1,000 with 100,000 entries 490 to 670 ms.
create function :"schema".find_suspects(
  p_after bytea, p_limit integer,
  out outcome text, out last bytea, out checked integer, out suspects bytea[]
)
language plpgsql stable security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  c_entries constant bigint := 100000;
  v_queue   queues;
  v_looked  integer := 0;
  v_entries bigint := 0;
begin
  checked := 0;
  suspects := '{}';
  for v_queue in
    select q.* from queues q where q.recipient_id > p_after order by q.recipient_id limit p_limit
  loop
    last := v_queue.recipient_id;
    v_looked := v_looked + 1;
    continue when v_queue.deleted_at is not null;
    checked := checked + 1;
    if exists (select from _findings(v_queue)) then
      suspects := suspects || last;
    end if;
    v_entries := v_entries + v_queue.size;
    exit when v_entries >= c_entries;
  end loop;
  outcome := case when v_looked = p_limit or v_entries >= c_entries then 'more' else 'done' end;
end $$;

-- Looks at one queue under its lock and, if p_repair, corrects its record (rule 4.14, step 2).
-- Outcomes: drift and violation, a row for each finding; or one row: sound, not_found.
create function :"schema".recount(p_recipient_id bytea, p_repair boolean)
returns table (outcome text, finding text, stored bigint, actual bigint)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  v_queue   queues;
  v_finding record;
  v_drifted boolean := false;
begin
  select q.* into v_queue
    from queues q
   where q.recipient_id = p_recipient_id and q.deleted_at is null
     for no key update;
  if not found then
    outcome := 'not_found';
    return next;
    return;
  end if;
  for v_finding in select * from _findings(v_queue) loop
    outcome := v_finding.outcome;
    finding := v_finding.finding;
    stored := v_finding.stored;
    actual := v_finding.actual;
    return next;
    v_drifted := v_drifted or outcome = 'drift';
  end loop;
  if outcome is null then
    outcome := 'sound';
    return next;
  end if;
  if v_drifted and p_repair then
    perform _recount(v_queue);
  end if;
end $$;
