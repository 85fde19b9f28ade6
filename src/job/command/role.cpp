#include "job/command/role.h"

#include "pg/boundary.h"

extern "C" {
#include "catalog/pg_authid_d.h"
#include "miscadmin.h"
}

namespace pgbraid::job {

void become(Oid role)
{
	pg::call([&] {
		SetSessionAuthorization(role, superuser_arg(role));
		// As in a function with SECURITY DEFINER: what would change the role is refused. A new transaction starts
		// without it, so this holds for one transaction only.
		SetUserIdAndSecContext(role, SECURITY_LOCAL_USERID_CHANGE);
	});
}

void become_ourselves()
{
	if (GetSessionUserId() == BOOTSTRAP_SUPERUSERID && GetUserId() == BOOTSTRAP_SUPERUSERID)
		return;
	pg::call([] {
		SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, 0);
		SetSessionAuthorization(BOOTSTRAP_SUPERUSERID, true);
	});
}

} // namespace pgbraid::job
