# A consumer: applies the events of a flow (format json) to tables of another database, knowing no more than the events
# say. It is strict where a consumer would be lenient: a row that comes twice, or an update of no row, is an error. Only
# while a snapshot is under way, changes may speak of rows that it has not come to, and a row may be told twice.
package Replay;
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $PostgreSQL::Test::Utils::timeout_default;

my $consumer = <<'END';
CREATE SCHEMA replay;
CREATE TABLE replay.events (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, e json);
CREATE TABLE replay.statements (tab regclass, op text, columns text, keys text, statement text);

-- Columns as json_to_record wants them. hstore is published as an object and vectors as arrays, which they can't be
-- made of.
CREATE VIEW replay.columns AS SELECT attrelid AS tab, attname AS name, quote_ident(attname) AS label,
	CASE WHEN typname IN ('hstore', 'int2vector', 'oidvector') THEN 'json' ELSE format_type(atttypid, atttypmod) END AS type,
	CASE typname WHEN 'json' THEN format('CASE WHEN r.%I IS NOT NULL THEN $%%s->%L END', attname, attname) -- to the byte
		WHEN 'hstore' THEN format('replay.hstore_of(r.%I)', attname)
		WHEN 'int2vector' THEN format('replay.vector_of(r.%I)::int2vector', attname)
		WHEN 'oidvector' THEN format('replay.vector_of(r.%I)::oidvector', attname)
		ELSE 'r.' || quote_ident(attname) END AS expression
	FROM pg_attribute JOIN pg_type t ON t.oid = atttypid WHERE attnum > 0 AND NOT attisdropped AND attgenerated = '';

CREATE FUNCTION replay.vector_of(elements json) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(v, ' '), '') FROM json_array_elements_text(elements) v WHERE elements IS NOT NULL
	HAVING elements IS NOT NULL $$;

-- A SELECT of the columns from parameter n.
CREATE FUNCTION replay.select_of(tab regclass, columns text[], n int, whole bool) RETURNS text LANGUAGE sql AS $$
	SELECT format(CASE WHEN whole THEN 'SELECT ROW(%s)::text' ELSE 'SELECT %s' END || ' FROM json_to_record($%s) AS r(%s)',
		string_agg(replace(expression, '$%s', '$' || n), ', ' ORDER BY position), n, string_agg(label || ' ' || type, ', '))
	FROM replay.columns c JOIN unnest(columns) WITH ORDINALITY AS u(name, position) ON u.name = c.name
	WHERE c.tab = select_of.tab $$;

-- Two rows that were the same before a change of the schema may differ in what to_jsonb doesn't show; see without_losses.
CREATE FUNCTION replay.without_losses(line text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT regexp_replace(regexp_replace(line, '(\[-?\d+:-?\d+\])+=', '', 'g'), '(?<![\w.-])-0(?![\w.])', '0', 'g') $$;

-- Where the row is that parameter 2 names: by its key, or, without one, any that looks the same.
CREATE FUNCTION replay.where_of(tab regclass, keys text[], columns text[]) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN keys <> '{}' THEN
		format('(%s) = (%s)', (SELECT string_agg('t.' || quote_ident(k), ', ') FROM unnest(keys) k), replay.select_of(tab, keys, 2, false))
	ELSE format('t.ctid = (SELECT ctid FROM %s x WHERE replay.without_losses(ROW(%s)::text) = replay.without_losses((%s)) LIMIT 1)', tab,
		(SELECT string_agg('x.' || quote_ident(c), ', ') FROM unnest(columns) c), replay.select_of(tab, columns, 2, true))
	END $$;

-- Generated columns are published, but not written.
CREATE FUNCTION replay.written(tab regclass, columns text[]) RETURNS text[] LANGUAGE sql AS $$
	SELECT array_agg(c) FROM unnest(columns) c
	WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = tab AND attname = c AND attgenerated <> '') $$;

CREATE FUNCTION replay.statement_of(tab regclass, op text, columns text[], keys text[]) RETURNS text LANGUAGE sql AS $$
	SELECT CASE op
		WHEN 'update' THEN format('UPDATE %s t SET (%s) = (%s) WHERE %s', tab, labels, replay.select_of(tab, columns, 1, false),
			replay.where_of(tab, keys, every))
		WHEN 'delete' THEN format('DELETE FROM %s t WHERE %s', tab, replay.where_of(tab, keys, every))
		WHEN 'truncate' THEN format('TRUNCATE %s', tab)
		ELSE format('INSERT INTO %s (%s) %s', tab, labels, replay.select_of(tab, columns, 1, false)) END
	FROM (SELECT string_agg(quote_ident(c), ', ') FROM unnest(columns) c) s(labels),
		(SELECT array_agg(name::text) FROM replay.columns c WHERE c.tab = statement_of.tab) a(every) $$;

CREATE FUNCTION replay.names(object json) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(array_agg(k), '{}') FROM json_object_keys(object) k $$;

CREATE FUNCTION replay.statement_for(tab_ regclass, op_ text, columns_ text[], keys_ text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	statement_ text;
BEGIN
	SELECT statement INTO statement_ FROM replay.statements s
		WHERE s.tab = tab_ AND s.op = op_ AND s.columns = columns_::text AND s.keys = keys_::text;
	IF NOT FOUND THEN
		statement_ := replay.statement_of(tab_, op_, replay.written(tab_, columns_), keys_);
		INSERT INTO replay.statements VALUES (tab_, op_, columns_::text, keys_::text, statement_);
	END IF;
	RETURN statement_;
END $$;

CREATE FUNCTION replay.apply_one(e json, during_snapshot bool) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	tab_ regclass := format('%I.%I', e->>'schema', e->>'table');
	op_ text := e->>'op';
	columns_ text[] := replay.names(e->'after');
	keys_ text[] := replay.names(e->'key');
	statement_ text;
	unchanged_ text[] := (SELECT array_agg(u) FROM json_array_elements_text(e->'unchanged') u);
	count_ int;
BEGIN
	IF op_ IN ('snapshot', 'insert', 'update') AND (SELECT array_agg(c ORDER BY c) FROM unnest(columns_ || unchanged_) c) IS DISTINCT FROM
		(SELECT array_agg(attname::text ORDER BY attname::text) FROM pg_attribute WHERE attrelid = tab_ AND attnum > 0 AND NOT attisdropped) THEN
		RAISE EXCEPTION 'the event does not have the columns of the table';
	END IF;
	IF during_snapshot AND op_ IN ('snapshot', 'insert') AND keys_ <> '{}' THEN
		EXECUTE replay.statement_for(tab_, 'delete', columns_, keys_) USING e->'after', e->'key';
	END IF;
	statement_ := replay.statement_for(tab_, op_, columns_, keys_);
	EXECUTE statement_ USING e->'after', coalesce(e->'before', e->'key');
	GET DIAGNOSTICS count_ = ROW_COUNT;
	IF during_snapshot AND op_ = 'update' AND count_ = 0 AND keys_ = '{}' THEN
		-- Without a key, who changed it has told the row, and it is not read.
		EXECUTE replay.statement_for(tab_, 'insert', columns_, keys_) USING e->'after';
	ELSIF op_ <> 'truncate' AND count_ <> 1 AND NOT (during_snapshot AND count_ = 0) THEN
		RAISE EXCEPTION '% rows found', count_;
	END IF;
EXCEPTION WHEN OTHERS THEN
	RAISE EXCEPTION '%', SQLERRM USING DETAIL = left(e::text, 3000), HINT = left(statement_, 3000);
END $$;

-- Rows of a table "ddl" are statements to be run here, where they are among the changes. They commit, since some can be
-- used only then.
CREATE PROCEDURE replay.apply(after bigint) LANGUAGE plpgsql AS $$
DECLARE
	event record;
	last_of_snapshot bigint := (SELECT max(n) FROM replay.events WHERE n > after AND e->>'op' = 'snapshot');
BEGIN
	FOR event IN SELECT n, e FROM replay.events WHERE n > after AND e->>'op' <> 'schema' ORDER BY n LOOP
		IF event.e->>'table' = 'ddl' THEN
			COMMIT;
			EXECUTE event.e->'after'->>'command';
			DELETE FROM replay.statements;
			COMMIT;
		ELSE
			PERFORM replay.apply_one(event.e, coalesce(event.n <= last_of_snapshot, false));
		END IF;
	END LOOP;
END $$;
END

my $of_hstore = <<'END';
CREATE EXTENSION hstore;
CREATE FUNCTION replay.hstore_of(object json) RETURNS hstore LANGUAGE sql AS $$
	SELECT coalesce(hstore(array_agg(key), array_agg(value)), '') FROM json_each_text(object) WHERE object IS NOT NULL
	HAVING object IS NOT NULL $$;
END

# Replay->new($braid, 'database', hstore => 1): makes the database.
sub new
{
	my ($class, $braid, $database, %options) = @_;
	my $self = bless { braid => $braid, database => $database, loaded => {} }, $class;
	$braid->sql("CREATE DATABASE $database");
	$self->sql($consumer . ($options{hstore} ? $of_hstore : ''));
	return $self;
}

sub sql
{
	my ($self, $sql) = @_;
	return $self->{braid}->sql($sql, dbname => $self->{database});
}

# Applies what the flow has published since the last call; all that was committed before this one. Returns how many.
sub catch_up
{
	my ($self, $flow) = @_;
	$self->{braid}->wait_for($flow);
	my $stream = $self->{braid}->stream_of($flow);
	my $last = $self->{braid}->nats->stream_state($stream)->{last_seq};
	my $loaded = $self->{loaded}{$stream} // 0;
	return 0 if $last == $loaded;
	my $file = PostgreSQL::Test::Utils::tempdir('replay') . '/events';
	my @command = ('pgbraid-tail', '-s', $self->{braid}->nats->url, '--stream', $stream, '--from', $loaded + 1,
		'--until-end', '--timeout', $seconds);
	IPC::Run::run(\@command, '>', $file) or die 'pgbraid-tail failed';
	$self->{loaded}{$stream} = $last;
	# Neither control character can be in an event.
	my $before = $self->sql('SELECT coalesce(max(n), 0) FROM replay.events');
	$self->sql("COPY replay.events (e) FROM '$file' WITH (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02', ENCODING 'UTF8')");
	$self->sql("CALL replay.apply($before)");
	return $last - $loaded;
}

# The rows of a table, as text, in some order that does not depend on the database.
sub rows
{
	my ($braid, $database, $table) = @_;
	my @rows = split /\n/, $braid->sql("COPY (SELECT t::text FROM $table t) TO STDOUT", dbname => $database);
	return sort @rows;
}

# Neither lower bounds of arrays nor the sign of a zero are published.
sub without_losses
{
	my ($row) = @_;
	$row =~ s/(?:\[-?\d+:-?\d+\])+=//g;
	$row =~ s/(?<![\w.-])-0(?![\w.])/0/g;
	return $row;
}

# Both databases have the same rows in the table.
sub is_same
{
	my ($self, $table, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @here = sort map { without_losses($_) } rows($self->{braid}, 'postgres', $table);
	my @there = sort map { without_losses($_) } rows($self->{braid}, $self->{database}, $table);
	my $first = 0;
	$first++ while $first < @here && $first < @there && $here[$first] eq $there[$first];
	my $same = $first == @here && $first == @there;
	ok($same, $name . ' (' . @here . ' rows)') or diag(difference($here[$first] // '', $there[$first] // ''));
	return $same;
}

# Around the first byte that differs.
sub difference
{
	my ($here, $there) = @_;
	my $at = 0;
	$at++ while $at < length($here) && substr($here, $at, 1) eq substr($there, $at, 1);
	my $from = $at > 60 ? $at - 60 : 0;
	return "original: ..." . substr($here, $from, 160) . "\nreplica:  ..." . substr($there, $from, 160);
}

1;
