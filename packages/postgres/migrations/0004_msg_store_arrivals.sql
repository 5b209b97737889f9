-- Wake-ups of MsgStore: notifications of queues that were empty and hold something now, and the look that makes up for
-- those that nobody heard (spec/msg-store.md, rules 4.15 and 10.9).

-- The channel of this installation. Asked for, so that the name is made in one place.
create function :"schema".arrivals_channel() returns text
language sql stable security definer set search_path = :"schema", pg_temp as $$
  select 'restante_arrivals_' || md5(current_schema())
$$;

-- Tells whoever listens that these queues, each named once, were empty and hold something now; one notification at most,
-- delivered when the transaction commits. Any role may listen, so it carries no ids: of each the first 8 bytes of its
-- SHA-256 as 16 hexadecimal digits, separated by spaces, or '*' for more queues than fit into the 7,999 bytes of a payload.
-- A reader whose queue only has the same hash looks in vain, and that is all.
create function :"schema"._notify_arrivals(p_recipient_ids bytea[]) returns void
language plpgsql volatile security definer set search_path = :"schema", pg_temp as $$
begin
  if cardinality(p_recipient_ids) between 1 and 470 then
    perform pg_notify(
      arrivals_channel(),
      (select string_agg(substr(encode(sha256(i.id), 'hex'), 1, 16), ' ') from unnest(p_recipient_ids) as i(id))
    );
  elsif cardinality(p_recipient_ids) > 470 then
    perform pg_notify(arrivals_channel(), '*');
  end if;
end $$;

-- Which of these queues have a head with at least the sequence beside them? By position (from 1).
-- Outcomes: arrived, quiet, not_found. A queue that has not come as far as that sequence was created anew since its reader
-- looked, so what the reader waits for is not to come: arrived as well.
create function :"schema".arrivals_of(p_recipient_ids bytea[], p_from bigint[])
returns table (ordinal integer, outcome text)
language plpgsql stable security definer set search_path = :"schema", pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  return query
    select i.n::integer, coalesce(q.outcome, 'not_found')
      from unnest(p_recipient_ids, p_from) with ordinality as i(recipient_id, at_least, n)
      left join lateral (
        select case
                 when q.next_sequence < i.at_least or (
                   select m.sequence
                     from messages m
                    where m.queue_key = q.key and m.sequence >= q.head_sequence
                    order by m.sequence
                    limit 1
                 ) >= i.at_least then 'arrived'
                 else 'quiet'
               end as outcome
          from queues q
         where q.recipient_id = i.recipient_id and q.deleted_at is null
         -- Keeps it a look-up for each: as a join of all of them it could walk a whole index.
         limit 1
      ) q on true;
end $$;
