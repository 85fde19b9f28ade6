#include "branch/connections.h"

#include "catalog/branches.h"

extern "C" {
#include "access/xact.h"
// Else the headers of GSSAPI are needed. Without it the struct keeps a pointer of the same size in its place.
#undef ENABLE_GSS
#include "libpq/auth.h"
#include "libpq/libpq-be.h"
#include "replication/walsender.h"
}

namespace pgbraid::branch {

namespace {

ClientAuthentication_hook_type next_hook = nullptr;

// In the transaction in which the backend gets ready, whose end releases the lock.
void at_authentication(Port *port, int status)
{
	if (next_hook)
		next_hook(port, status);
	if (status == STATUS_OK && port->database_name != nullptr && IsTransactionState() &&
		(!am_walsender || am_db_walsender))
		catalog::await_switch(port->database_name);
}

} // namespace

void install_connections()
{
	next_hook = ClientAuthentication_hook;
	ClientAuthentication_hook = at_authentication;
}

} // namespace pgbraid::branch
