# Who may do what: nobody anything, until it is granted.
use strict;
use warnings;

use Braid;
use Test::More;

my $braid = Braid->new;
$braid->sql('CREATE TABLE t (id int PRIMARY KEY)');
$braid->sql("SELECT pgflow_create('f', tables => '{t}')");
$braid->until_state('f', 'streaming');
$braid->sql('CREATE ROLE app; CREATE ROLE watcher IN ROLE pg_monitor; GRANT INSERT ON t TO app');

sub as
{
	my ($role, $sql) = @_;
	return $braid->error_of("SET ROLE $role; $sql");
}

like(as('app', "SELECT pgflow_wait('f')"), qr/42501/, 'a plain role may not wait');
$braid->sql('GRANT EXECUTE ON FUNCTION pgflow_wait(name, pg_lsn, interval) TO app');
is(as('app', "INSERT INTO t VALUES (1); SELECT pgflow_wait('f')"), '', 'with EXECUTE on pgflow_wait, and nothing else, it may');
like(as('app', $_), qr/42501/, "but not: $_")
	for 'SELECT * FROM pgbraid.flows', "SELECT pgflow_drop('f')", 'SELECT * FROM pgbraid.stat_flow', 'SELECT * FROM pgflow_check()',
	"SELECT pgbraid.wait(1, NULL, '1 s')";
$braid->nats->stop;
my $explained = sub { my ($role) = @_; $braid->error_of("SET ROLE $role; SET client_min_messages = warning; INSERT INTO t VALUES (1000 + pg_backend_pid()); SELECT 1 / pgflow_wait('f', timeout => '10 ms')::int") };
$braid->until_sql("SELECT last_error IS NOT NULL FROM pgbraid.stat_flow");
unlike($explained->('app'), qr/DETAIL/, 'who may not read pgbraid.stat_flow is not told what went wrong');
$braid->sql('GRANT pg_monitor TO app');
like($explained->('app'), qr/WARNING.*DETAIL:.*NATS/s, 'who may is');
$braid->sql('REVOKE pg_monitor FROM app');
$braid->nats->start;
like(as('app', "SELECT pgflow_wait('nowhere')"), qr/42704/, 'a flow that does not exist is said not to exist');
$braid->sql('CREATE SCHEMA trap AUTHORIZATION app');
is(as('app', "CREATE FUNCTION trap.pg_current_xact_id_if_assigned() RETURNS xid8 LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
	SET search_path = trap, pg_catalog, public; SELECT pgflow_wait('f')"), '', 'pgflow_wait calls nothing of the caller');
is(as('watcher', 'SELECT * FROM pgbraid.stat_flow; SELECT * FROM pgbraid.stat_worker'), '', 'a member of pg_monitor may read the views');
like(as('watcher', $_), qr/42501/, "but not: $_") for 'SELECT * FROM pgflow_check()', "SELECT pgflow_pause('f')", 'SELECT * FROM pgbraid.flows';
$braid->sql('GRANT EXECUTE ON FUNCTION pgflow_check(name), pgbraid.check_nats(name) TO watcher');
is(as('watcher', 'SELECT * FROM pgflow_check()'), '', 'unless that is granted');
like($braid->error_of('SELECT pgbraid.wait(1, NULL, NULL)'), qr/22004/, 'nulls are refused');
done_testing();
