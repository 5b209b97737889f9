-- MsgStore: queues, their entries, and the functions that are the only way to them (spec/msg-store.md, sections 4 and 10).
--
-- :"schema" stands for the schema of the installation, as a variable does in psql; PgMigrations puts its name there.
--
-- Functions whose name begins with an underscore are private; the application role gets EXECUTE on the others and nothing
-- else. All are SECURITY DEFINER with a pinned search_path. Expected outcomes are values in the column "outcome"; an
-- error means a bug, or damage. Functions that change a queue lock its row first and read entries in later statements:
-- under READ COMMITTED each statement sees what the previous holder of the lock committed, which is why they are
-- VOLATILE. Functions that only read are STABLE: all their statements see the one snapshot of the calling statement.
--
-- Trap: a session plans once, often while the tables are still empty, and then reading the whole table, or walking all
-- entries of the queue through the wrong index, looks as cheap as the right one. With 5,000 entries in a queue such a plan
-- cost 427 µs a write instead of 70 µs. So functions that look rows up forbid the first, and the two indexes of
-- messages have no column in common, so that each statement can use one of them only.
--
-- Trap: as long as any transaction of the database is open that is older, no version of a row that was updated can be
-- removed, and each call updates a queue. A look-up by "recipient_id = id" walks its versions oldest first: after 10,000
-- messages peek touched 388 pages instead of 4 and took 30 times as long, and it goes on like that. New versions go to the
-- end of the table, so the functions that are called for each message look from there: "between id and id order by
-- recipient_id desc limit 1", which is an equality to us and not to the planner, who would drop the order.

create table :"schema".queues (
  -- What entries refer to: 8 bytes instead of up to 64 in each index entry of messages.
  key           bigint  not null generated always as identity,
  recipient_id  bytea   not null check (octet_length(recipient_id) between 1 and 64),
  sender_id     bytea   not null check (octet_length(sender_id) between 1 and 64),
  quota         integer check (quota >= 0),
  status        text    not null check (status in ('active', 'suspended')),
  created_at    bigint  not null check (created_at between 0 and 9007199254740991),
  updated_at    bigint  not null check (updated_at between 0 and 9007199254740991),
  -- A deleted queue keeps its row, so that both ids stay reserved.
  deleted_at    bigint  check (deleted_at between 0 and 9007199254740991),
  size          bigint  not null default 0 check (size >= 0),
  latched       boolean not null default false,
  -- Sequence of the next entry. Not a database sequence: a rollback must leave no gap.
  next_sequence bigint  not null default 1 check (next_sequence >= 1),
  -- No entry has a lower sequence. Scans start here, so they never walk removed rows that are not vacuumed yet.
  head_sequence bigint  not null default 1 check (head_sequence >= 1),
  primary key (recipient_id),
  unique (sender_id),
  check (sender_id <> recipient_id)
  -- No index, and no index predicate, may use the last four columns: each message updates them, and only an update that
  -- touches no index stays on its page (HOT).
) with (fillfactor = 70);

create table :"schema".messages (
  queue_key  bigint  not null,
  sequence   bigint  not null check (sequence >= 1),
  ts         bigint  not null check (ts between 0 and 9007199254740991),
  kind       "char"  not null check (kind in ('m', 'q')), -- message, quota marker
  notify     boolean not null,
  message_id bytea   not null check (octet_length(message_id) between 1 and 64),
  body       bytea   not null check (octet_length(body) <= 8388608),
  primary key (queue_key, sequence),
  check (kind = 'm' or (octet_length(body) = 0 and not notify))
  -- No foreign key and no index on the time: each costs 15 to 25 % of a batch write, and neither is needed. Queues
  -- delete their entries themselves, and expiry removes a prefix, which the primary key finds.
);

-- An id occurs once in a queue. Over one expression, so that no other statement can use this index and no other index can
-- serve a look-up by id: see the trap above. Writes cost the same as with two columns in either order.
create unique index messages_id on :"schema".messages ((int8send(queue_key) || message_id));

-- Bodies are opaque and mostly encrypted: trying to compress them is lost work.
alter table :"schema".messages alter column body set storage external;

---------------------------------------------------------------------------------------------------------------- private

-- Counts the entries of a locked queue and corrects its record (rule 10.7).
create function :"schema"._recount(p_queue :"schema".queues) returns :"schema".queues
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_queue queues;
  v_size  bigint;
  v_first bigint;
  v_last  bigint;
begin
  select count(*), min(m.sequence), max(m.sequence)
    into v_size, v_first, v_last
    from messages m
   where m.queue_key = p_queue.key;
  update queues q
     set size = v_size,
         latched = exists (
           select from messages m where m.queue_key = q.key and m.sequence = v_last and m.kind = 'q'
         ),
         next_sequence = greatest(q.next_sequence, v_last + 1),
         head_sequence = coalesce(v_first, greatest(q.next_sequence, v_last + 1))
   where q.ctid = (
     select l.ctid from queues l
      where l.recipient_id between p_queue.recipient_id and p_queue.recipient_id
      order by l.recipient_id desc
      limit 1
   )
  returning q.* into v_queue;
  return v_queue;
end $$;

-- Decides one write on a locked queue, and stores what is to be stored. The caller writes the changed record back.
create function :"schema"._append(
  inout queue         :"schema".queues,
  in    p_message_id  bytea,
  in    p_ts          bigint,
  in    p_notify      boolean,
  in    p_body        bytea,
  in    p_default     integer,
  out   outcome       text,
  out   at_sequence   bigint,
  out   was_empty     boolean
)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_sequence bigint;
  v_kind     "char";
begin
  select m.sequence, m.kind into v_sequence, v_kind
    from messages m
   where int8send(m.queue_key) || m.message_id = int8send(queue.key) || p_message_id;
  if found then
    if v_kind = 'q' then
      outcome := 'quota_reached';
    else
      outcome := 'already_stored';
      at_sequence := v_sequence;
    end if;
    return;
  end if;

  if queue.status = 'suspended' then
    outcome := 'suspended';
    return;
  end if;

  -- The record must agree with the last entry; where it does not, count before deciding on it.
  v_sequence := null;
  v_kind := null;
  select m.sequence, m.kind into v_sequence, v_kind
    from messages m
   where m.queue_key = queue.key and m.sequence >= queue.head_sequence
   order by m.sequence desc
   limit 1;
  if (queue.size = 0) <> (v_sequence is null)
     or queue.latched <> coalesce(v_kind = 'q', false)
     or v_sequence >= queue.next_sequence then
    queue := _recount(queue);
  end if;

  if queue.latched then
    outcome := 'quota_exceeded';
    return;
  end if;

  if queue.size < coalesce(queue.quota, p_default) then
    insert into messages (queue_key, sequence, ts, kind, notify, message_id, body)
    values (queue.key, queue.next_sequence, p_ts, 'm', p_notify, p_message_id, p_body);
    outcome := 'accepted';
    at_sequence := queue.next_sequence;
    was_empty := queue.size = 0;
  else
    insert into messages (queue_key, sequence, ts, kind, notify, message_id, body)
    values (queue.key, queue.next_sequence, p_ts, 'q', false, p_message_id, '');
    outcome := 'quota_reached';
    queue.latched := true;
  end if;
  if queue.size = 0 then
    queue.head_sequence := queue.next_sequence;
  end if;
  queue.size := queue.size + 1;
  queue.next_sequence := queue.next_sequence + 1;
end $$;

-- Writes back what _append changed. In plpgsql, because a function in SQL is planned again for each call (before 18).
create function :"schema"._save(p_queue :"schema".queues) returns void
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  update queues q
     set size = p_queue.size,
         latched = p_queue.latched,
         next_sequence = p_queue.next_sequence,
         head_sequence = p_queue.head_sequence
   where q.ctid = (
     select l.ctid from queues l
      where l.recipient_id between p_queue.recipient_id and p_queue.recipient_id
      order by l.recipient_id desc
      limit 1
   );
end $$;

-- Counts a locked queue if its record contradicts its head: the record it answers can be relied on (rule 10.7).
create function :"schema"._check_head(p_queue :"schema".queues) returns :"schema".queues
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_sequence bigint;
  v_kind     "char";
begin
  select m.sequence, m.kind into v_sequence, v_kind
    from messages m
   where m.queue_key = p_queue.key and m.sequence >= p_queue.head_sequence
   order by m.sequence
   limit 1;
  if (p_queue.size = 0) <> (v_sequence is null)
     or v_sequence >= p_queue.next_sequence
     or (v_kind = 'q' and not p_queue.latched) then
    return _recount(p_queue);
  end if;
  return p_queue;
end $$;

-- Removes the entries of a locked queue up to and including a sequence, and answers how many that were.
create function :"schema"._remove_through(p_queue :"schema".queues, p_sequence bigint) returns bigint
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_removed bigint;
  v_head    bigint;
  v_kind    "char";
begin
  delete from messages m
   where m.queue_key = p_queue.key and m.sequence >= p_queue.head_sequence and m.sequence <= p_sequence;
  get diagnostics v_removed = row_count;
  if v_removed = 0 then
    return 0;
  end if;
  select m.sequence, m.kind into v_head, v_kind
    from messages m
   where m.queue_key = p_queue.key and m.sequence > p_sequence
   order by m.sequence
   limit 1;
  if v_head is null then
    -- Set, not subtracted: an empty queue is size 0 and open, whatever the record said before.
    update queues q
       set size = 0, latched = false,
           next_sequence = greatest(q.next_sequence, p_sequence + 1),
           head_sequence = greatest(q.next_sequence, p_sequence + 1)
     where q.ctid = (
       select l.ctid from queues l
        where l.recipient_id between p_queue.recipient_id and p_queue.recipient_id
        order by l.recipient_id desc
        limit 1
     );
  elsif p_queue.size - v_removed < 1 or v_head >= p_queue.next_sequence or (v_kind = 'q' and not p_queue.latched) then
    perform _recount(p_queue);
  else
    update queues q
       set size = q.size - v_removed, head_sequence = v_head
     where q.ctid = (
       select l.ctid from queues l
        where l.recipient_id between p_queue.recipient_id and p_queue.recipient_id
        order by l.recipient_id desc
        limit 1
     );
  end if;
  return v_removed;
end $$;

-- May this entry be handed out (rule 7.5)? The constraints of the table say the same; a disk may say otherwise.
create function :"schema"._is_sound(p_entry :"schema".messages) returns boolean
language plpgsql immutable security definer set search_path = :"schema", pg_temp as $$
begin
  return octet_length(p_entry.message_id) between 1 and 64
     and p_entry.ts between 0 and 9007199254740991
     and octet_length(p_entry.body) <= 8388608
     and (p_entry.kind = 'm' or (p_entry.kind = 'q' and octet_length(p_entry.body) = 0 and not p_entry.notify));
end $$;

----------------------------------------------------------------------------------------------------------------- queues

-- A queue as get_queue, create_queue and the setters answer it.
create type :"schema".queue_record as (
  outcome text, recipient_id bytea, sender_id bytea, quota integer, status text, size bigint, latched boolean,
  first_sequence bigint, next_sequence bigint, created_at bigint, updated_at bigint
);

-- Outcomes: found, not_found.
create function :"schema".get_queue(p_recipient_id bytea) returns :"schema".queue_record
language plpgsql stable security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_record queue_record;
begin
  select 'found', q.recipient_id, q.sender_id, q.quota, q.status, q.size, q.latched,
         (select m.sequence
            from messages m
           where m.queue_key = q.key and m.sequence >= q.head_sequence
           order by m.sequence
           limit 1),
         q.next_sequence, q.created_at, q.updated_at
    into v_record
    from queues q
   where q.recipient_id between p_recipient_id and p_recipient_id and q.deleted_at is null
   order by q.recipient_id desc
   limit 1;
  if not found then
    v_record.outcome := 'not_found';
  end if;
  return v_record;
end $$;

-- The one function that is keyed by sender id: what a writer may know of each queue, and the recipient id that the client
-- needs to address it, which never leaves the client.
create function :"schema".get_senders(p_sender_ids bytea[])
returns table (sender_id bytea, recipient_id bytea, status text)
language plpgsql stable security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  return query
    select q.sender_id, q.recipient_id, q.status
      from queues q
     where q.sender_id = any (p_sender_ids) and q.deleted_at is null;
end $$;

-- Outcomes: created, found (this very pair exists), recipient_taken, sender_taken.
create function :"schema".create_queue(
  p_recipient_id bytea, p_sender_id bytea, p_quota integer, p_status text, p_now bigint
) returns :"schema".queue_record
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_record queue_record;
begin
  loop
    insert into queues (recipient_id, sender_id, quota, status, created_at, updated_at)
    values (p_recipient_id, p_sender_id, p_quota, p_status, p_now, p_now)
    on conflict do nothing;
    if found then
      v_record := get_queue(p_recipient_id);
      v_record.outcome := 'created';
      return v_record;
    end if;
    v_record := get_queue(p_recipient_id);
    if v_record.sender_id = p_sender_id then
      return v_record;
    end if;
    v_record := null;
    if exists (select from queues q where q.recipient_id = p_recipient_id) then
      v_record.outcome := 'recipient_taken';
      return v_record;
    end if;
    if exists (select from queues q where q.sender_id = p_sender_id) then
      v_record.outcome := 'sender_taken';
      return v_record;
    end if;
    -- The queue that was in the way is gone again; nothing forbids this one any more.
  end loop;
end $$;

-- Outcomes: found, not_found.
create function :"schema".set_queue_status(p_recipient_id bytea, p_status text, p_now bigint)
returns :"schema".queue_record
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  -- Locked also when there is nothing to change: the answer must not be from after somebody else's change.
  perform from queues q where q.recipient_id = p_recipient_id and q.deleted_at is null for no key update;
  update queues q
     set status = p_status, updated_at = p_now
   where q.recipient_id = p_recipient_id and q.deleted_at is null and q.status <> p_status;
  return get_queue(p_recipient_id);
end $$;

-- Outcomes: found, not_found.
create function :"schema".set_quota(p_recipient_id bytea, p_quota integer, p_now bigint)
returns :"schema".queue_record
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  perform from queues q where q.recipient_id = p_recipient_id and q.deleted_at is null for no key update;
  update queues q
     set quota = p_quota, updated_at = p_now
   where q.recipient_id = p_recipient_id and q.deleted_at is null and q.quota is distinct from p_quota;
  return get_queue(p_recipient_id);
end $$;

-- Outcomes: deleted, not_found.
create function :"schema".delete_queue(p_recipient_id bytea, p_now bigint, out outcome text, out discarded bigint)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_key bigint;
begin
  update queues q
     set deleted_at = p_now, size = 0, latched = false, head_sequence = q.next_sequence
   where q.recipient_id = p_recipient_id and q.deleted_at is null
  returning q.key into v_key;
  if not found then
    outcome := 'not_found';
    return;
  end if;
  delete from messages m where m.queue_key = v_key;
  get diagnostics discarded = row_count;
  outcome := 'deleted';
end $$;

---------------------------------------------------------------------------------------------------------------- writing

-- Outcomes: accepted, already_stored, quota_reached, quota_exceeded, suspended, not_found.
-- A writer's client passes both ids; a queue that is bound to another sender by now is not found. With p_wake, readers are
-- notified if the queue was empty (rule 10.9); _notify_arrivals is in 0004.
create function :"schema".write(
  p_recipient_id bytea, p_sender_id bytea, p_message_id bytea, p_ts bigint, p_notify boolean, p_body bytea,
  p_default_quota integer, p_wake boolean default true,
  out outcome text, out at_sequence bigint, out was_empty boolean
)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_queue queues;
  v_next  bigint;
  v_step  record;
begin
  select q.* into v_queue
    from queues q
   where q.recipient_id between p_recipient_id and p_recipient_id and q.deleted_at is null
     and (p_sender_id is null or q.sender_id = p_sender_id)
   order by q.recipient_id desc
   limit 1
     for no key update;
  if not found then
    outcome := 'not_found';
    return;
  end if;
  v_next := v_queue.next_sequence;
  v_step := _append(v_queue, p_message_id, p_ts, p_notify, p_body, p_default_quota);
  outcome := v_step.outcome;
  at_sequence := v_step.at_sequence;
  was_empty := v_step.was_empty;
  v_queue := v_step.queue;
  if v_queue.next_sequence > v_next then
    perform _save(v_queue);
    if p_wake and v_queue.size = 1 then
      perform _notify_arrivals(array[p_recipient_id]);
    end if;
  end if;
end $$;

-- The same for many messages at once. Outcomes by position (from 1), as for write; per queue they apply in input order.
-- A recipient id of null is a sender id that the client could not resolve. Unless p_final, one sender id that is bound
-- differently by now makes the whole call answer 'rebind' at position 0 and store nothing: the client looks the ids up
-- again and repeats it, and the batch still becomes visible at once.
create function :"schema".write_many(
  p_recipient_ids bytea[], p_sender_ids bytea[], p_message_ids bytea[], p_ts bigint[], p_notify boolean[],
  p_bodies bytea[], p_default_quota integer, p_final boolean, p_wake boolean default true
)
returns table (ordinal integer, outcome text, at_sequence bigint, was_empty boolean)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  v_locked  queues[];
  v_current bytea;
  v_queue   queues;
  v_live    boolean := false;
  v_next    bigint;
  v_item    record;
  v_step    record;
  v_woken   bytea[] := '{}';
begin
  -- In recipient id order, as everybody locks several queues, so that batches never deadlock.
  select array_agg(l.queue) into v_locked
    from (
      select distinct i.id from unnest(p_recipient_ids) as i(id) where i.id is not null order by i.id
    ) i
   cross join lateral (
      select q as queue
        from queues q
       where q.recipient_id between i.id and i.id and q.deleted_at is null
       order by q.recipient_id desc
       limit 1
         for no key update
    ) l;

  if not p_final and exists (
    select from unnest(p_recipient_ids, p_sender_ids) as i(recipient_id, sender_id)
     where i.recipient_id is not null and i.sender_id is not null
       and not exists (
         select from unnest(v_locked) q where q.recipient_id = i.recipient_id and q.sender_id = i.sender_id
       )
  ) then
    return query select 0, 'rebind', null::bigint, null::boolean;
    return;
  end if;

  for v_item in
    select i.recipient_id, i.sender_id, i.message_id, i.ts, i.notify, i.body, i.n, q as queue
      from unnest(p_recipient_ids, p_sender_ids, p_message_ids, p_ts, p_notify, p_bodies)
             with ordinality as i(recipient_id, sender_id, message_id, ts, notify, body, n)
      left join unnest(v_locked) q on q.recipient_id = i.recipient_id
     order by i.recipient_id, i.n
  loop
    if v_item.recipient_id is distinct from v_current then
      if v_live and v_queue.next_sequence > v_next then
        perform _save(v_queue);
      end if;
      v_current := v_item.recipient_id;
      v_queue := v_item.queue;
      v_live := v_queue.key is not null;
      v_next := v_queue.next_sequence;
    end if;
    ordinal := v_item.n;
    outcome := 'not_found';
    at_sequence := null;
    was_empty := null;
    if v_live and (v_item.sender_id is null or v_item.sender_id = v_queue.sender_id) then
      v_step := _append(v_queue, v_item.message_id, v_item.ts, v_item.notify, v_item.body, p_default_quota);
      outcome := v_step.outcome;
      at_sequence := v_step.at_sequence;
      was_empty := v_step.was_empty;
      -- The first entry of a queue that was empty, be it a message or the marker.
      if (v_step.queue).size = 1 and (v_step.queue).next_sequence > v_queue.next_sequence then
        v_woken := array_append(v_woken, v_current);
      end if;
      v_queue := v_step.queue;
    end if;
    return next;
  end loop;
  if v_live and v_queue.next_sequence > v_next then
    perform _save(v_queue);
  end if;
  if p_wake then
    perform _notify_arrivals(v_woken);
  end if;
end $$;

---------------------------------------------------------------------------------------------------------------- reading

-- Outcomes: entry, corrupt (not handed out), empty, not_found. One row per entry in order, or one row without an entry.
create function :"schema".peek_batch(p_recipient_id bytea, p_limit integer, p_after bigint, p_max_bytes bigint)
returns table (
  outcome text, sequence bigint, message_id bytea, kind text, ts bigint, notify boolean, body bytea
)
language plpgsql stable security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  v_key  bigint;
  v_head bigint;
begin
  select q.key, q.head_sequence into v_key, v_head
    from queues q
   where q.recipient_id between p_recipient_id and p_recipient_id and q.deleted_at is null
   order by q.recipient_id desc
   limit 1;
  if not found then
    outcome := 'not_found';
    return next;
    return;
  end if;
  return query
    select case when b.sound then 'entry' else 'corrupt' end,
           b.sequence, b.message_id, b.kind::text, b.ts, b.notify, case when b.sound then b.body end
      from (
        select m.*,
               row_number() over w as n,
               sum(octet_length(m.body)) over w as bytes
          from (
            select m.*, _is_sound(m) as sound
              from messages m
             where m.queue_key = v_key and m.sequence >= v_head and m.sequence > p_after
             order by m.sequence
             limit p_limit
          ) m
        window w as (order by m.sequence)
      ) b
     where b.n = 1 or b.bytes <= p_max_bytes
     order by b.sequence;
  if not found then
    outcome := 'empty';
    return next;
  end if;
end $$;

-- Outcomes: entry, corrupt (not handed out), empty, not_found.
create function :"schema".peek(
  p_recipient_id bytea,
  out outcome text, out sequence bigint, out message_id bytea, out kind text, out ts bigint, out notify boolean,
  out body bytea
)
language plpgsql stable security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
  select case when m.sequence is null then 'empty' when m.sound then 'entry' else 'corrupt' end,
         m.sequence, m.message_id, m.kind::text, m.ts, m.notify, case when m.sound then m.body end
    into outcome, sequence, message_id, kind, ts, notify, body
    from queues q
    left join lateral (
      select m.*, _is_sound(m) as sound
        from messages m
       where m.queue_key = q.key and m.sequence >= q.head_sequence
       order by m.sequence
       limit 1
    ) m on true
   where q.recipient_id between p_recipient_id and p_recipient_id and q.deleted_at is null
   order by q.recipient_id desc
   limit 1;
  if not found then
    outcome := 'not_found';
  end if;
end $$;

-- Outcomes: found, not_found.
create function :"schema".size(p_recipient_id bytea, out outcome text, out size bigint)
language plpgsql stable security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
  select 'found', q.size into outcome, size
    from queues q
   where q.recipient_id between p_recipient_id and p_recipient_id and q.deleted_at is null
   order by q.recipient_id desc
   limit 1;
  if not found then
    outcome := 'not_found';
  end if;
end $$;

--------------------------------------------------------------------------------------------------------------- removing

-- Removes the head if it has this id. With p_peek, also answers the head afterwards.
-- Outcomes: acknowledged, not_head, not_found, corrupt (an entry to hand out is damaged; nothing was removed).
create function :"schema".acknowledge(
  p_recipient_id bytea, p_message_id bytea, p_peek boolean,
  out outcome text,
  out sequence bigint, out message_id bytea, out kind text, out ts bigint, out notify boolean, out body bytea,
  out next_sequence bigint, out next_message_id bytea, out next_kind text, out next_ts bigint, out next_notify boolean,
  out next_body bytea
)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  v_queue queues;
  v_head  messages;
  v_next  messages;
begin
  select q.* into v_queue
    from queues q
   where q.recipient_id between p_recipient_id and p_recipient_id and q.deleted_at is null
   order by q.recipient_id desc
   limit 1
     for no key update;
  if not found then
    outcome := 'not_found';
    return;
  end if;

  select m.* into v_head
    from messages m
   where m.queue_key = v_queue.key and m.sequence >= v_queue.head_sequence
   order by m.sequence
   limit 1;
  if (v_queue.size = 0) <> (v_head.sequence is null)
     or v_head.sequence >= v_queue.next_sequence
     or (v_head.kind = 'q' and not v_queue.latched) then
    v_queue := _recount(v_queue);
    select m.* into v_head
      from messages m
     where m.queue_key = v_queue.key
     order by m.sequence
     limit 1;
  end if;
  if v_head.message_id = p_message_id then
    outcome := 'acknowledged';
    if p_peek then
      select m.* into v_next
        from messages m
       where m.queue_key = v_queue.key and m.sequence > v_head.sequence
       order by m.sequence
       limit 1;
    end if;
  else
    outcome := 'not_head';
    if p_peek then
      v_next := v_head;
    end if;
    v_head := null;
  end if;

  if (v_head.sequence is not null and not _is_sound(v_head))
     or (v_next.sequence is not null and not _is_sound(v_next)) then
    outcome := 'corrupt';
    return;
  end if;

  if v_head.sequence is not null then
    perform _remove_through(v_queue, v_head.sequence);
    sequence := v_head.sequence;
    message_id := v_head.message_id;
    kind := v_head.kind::text;
    ts := v_head.ts;
    notify := v_head.notify;
    body := v_head.body;
  end if;
  next_sequence := v_next.sequence;
  next_message_id := v_next.message_id;
  next_kind := v_next.kind::text;
  next_ts := v_next.ts;
  next_notify := v_next.notify;
  next_body := v_next.body;
end $$;

-- Removes an entry, named by its id, and all before it. Outcomes: removed, not_found.
create function :"schema".acknowledge_through_message(
  p_recipient_id bytea, p_message_id bytea, out outcome text, out removed bigint
)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_queue    queues;
  v_sequence bigint;
begin
  select q.* into v_queue
    from queues q
   where q.recipient_id between p_recipient_id and p_recipient_id and q.deleted_at is null
   order by q.recipient_id desc
   limit 1
     for no key update;
  if not found then
    outcome := 'not_found';
    return;
  end if;
  v_queue := _check_head(v_queue);
  select m.sequence into v_sequence
    from messages m
   where int8send(m.queue_key) || m.message_id = int8send(v_queue.key) || p_message_id;
  outcome := 'removed';
  removed := case when found then _remove_through(v_queue, v_sequence) else 0 end;
end $$;

-- Removes the entries up to a sequence. Outcomes: removed, not_found, not_assigned (with the next sequence).
create function :"schema".acknowledge_through_sequence(
  p_recipient_id bytea, p_sequence bigint, out outcome text, out removed bigint, out next_sequence bigint
)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_queue queues;
begin
  select q.* into v_queue
    from queues q
   where q.recipient_id between p_recipient_id and p_recipient_id and q.deleted_at is null
   order by q.recipient_id desc
   limit 1
     for no key update;
  if not found then
    outcome := 'not_found';
    return;
  end if;
  v_queue := _check_head(v_queue);
  if p_sequence >= v_queue.next_sequence and exists (
    select from messages m where m.queue_key = v_queue.key and m.sequence >= v_queue.next_sequence
  ) then
    v_queue := _recount(v_queue);
  end if;
  if p_sequence >= v_queue.next_sequence then
    outcome := 'not_assigned';
    next_sequence := v_queue.next_sequence;
    return;
  end if;
  outcome := 'removed';
  removed := _remove_through(v_queue, p_sequence);
end $$;

-- Removes the messages in front of the first one that is not older than p_before; the marker stays (rule 4.10).
-- Outcomes: removed, not_found.
create function :"schema".delete_expired(p_recipient_id bytea, p_before bigint, out outcome text, out removed bigint)
language plpgsql volatile security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  v_queue    queues;
  v_sequence bigint;
begin
  select q.* into v_queue
    from queues q
   where q.recipient_id between p_recipient_id and p_recipient_id and q.deleted_at is null
   order by q.recipient_id desc
   limit 1
     for no key update;
  if not found then
    outcome := 'not_found';
    return;
  end if;
  v_queue := _check_head(v_queue);
  outcome := 'removed';
  -- Up to the one before the first fresh message, or before the marker, or everything.
  select m.sequence - 1 into v_sequence
    from messages m
   where m.queue_key = v_queue.key and m.sequence >= v_queue.head_sequence and (m.kind = 'q' or m.ts >= p_before)
   order by m.sequence
   limit 1;
  if not found then
    select m.sequence into v_sequence
      from messages m
     where m.queue_key = v_queue.key and m.sequence >= v_queue.head_sequence
     order by m.sequence desc
     limit 1;
  end if;
  removed := _remove_through(v_queue, v_sequence);
end $$;
