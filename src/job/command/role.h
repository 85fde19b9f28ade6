// Whom this process acts as. It is a superuser's; a command acts as the role of its job, and no RESET ROLE, SET ROLE or
// SET SESSION AUTHORIZATION leads out of that.
#pragma once
#include "pg/prelude.h"

namespace pgbraid::job {

// In a transaction. session_user and current_user are that role.
void become(Oid role);

// Harmless where we are ourselves. Also after the transaction was undone.
void become_ourselves();

} // namespace pgbraid::job
