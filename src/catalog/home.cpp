// Which database this is, among all: what is stored in it with another name is a copy.
#include "pg/boundary.h"

extern "C" {
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/builtins.h"
}

PGBRAID_FUNCTION(pgbraid_here)
{
	char name[64];
	snprintf(name, sizeof name, UINT64_FORMAT "/%u", GetSystemIdentifier(), MyDatabaseId);
	return pgbraid::pg::call([&] { return CStringGetTextDatum(name); });
}
