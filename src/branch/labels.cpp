#include "branch/labels.h"

#include "pg/boundary.h"
#include "worker/commit.h"

extern "C" {
#include "catalog/objectaddress.h"
#include "catalog/pg_database.h"
#include "commands/seclabel.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
}

namespace pgbraid::branch {

namespace {

// For SECURITY LABEL, with which pg_dumpall brings labels back. They decide which database gets which name.
void check_label(const ObjectAddress *object, const char *label)
{
	if (object->classId != DatabaseRelationId)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("pgbraid labels databases only")));
	if (!superuser())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("only a superuser can label a database for pgbraid by hand"),
						errhint("Use the functions pgbranch_*.")));
	if (label != nullptr)
		(void) DirectFunctionCall1(jsonb_in, CStringGetDatum(label)); // an error, unless it is JSON
	worker::note_moved_database(object->objectId);
}

} // namespace

void install_labels()
{
	register_label_provider("pgbraid", check_label);
}

} // namespace pgbraid::branch
