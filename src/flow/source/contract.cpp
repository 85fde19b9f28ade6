#include "flow/source/contract.h"

#include "pg/compat.h"
#include "worker/process.h"

extern "C" {
#include "catalog/partition.h"
#include "catalog/pg_publication_rel.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
}

namespace pgbraid::flow {

namespace {

// As pgoutput since PostgreSQL 18: nothing leaves, and that is said. An error would come again for ever, since the past
// does not change.
void warn_of_missing(const char *publication, const char *table)
{
	char message[512];
	snprintf(message, sizeof message,
			 "publication \"%s\" did not exist when table \"%s\" was changed; the changes are not published",
			 publication, table);
	static constexpr char hint[] =
		"Create the publication; pgflow_resume(..., restart => true) begins anew with a snapshot.";
	worker::set_trouble(worker::self(), "42704", message, hint);
	ereport(WARNING, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("%s", message), errhint("%s", hint)));
}

// Does the publication name the relation, its schema or an ancestor? Sets published_as. As pgoutput decides it.
bool is_member(const Publication *publication, Oid relation, Contract &contract)
{
	List *ancestors = get_rel_relispartition(relation) ? get_partition_ancestors(relation) : NIL;
	if (publication->alltables) {
		if (publication->pubviaroot && ancestors != NIL)
			contract.published_as = llast_oid(ancestors);
		return true;
	}
	bool through_ancestor = false;
	if (ancestors != NIL) {
		Oid ancestor = GetTopMostAncestorInPublication(publication->oid, ancestors, nullptr);
		through_ancestor = OidIsValid(ancestor);
		if (through_ancestor && publication->pubviaroot)
			contract.published_as = ancestor;
	}
	return through_ancestor || list_member_oid(GetRelationPublications(relation), publication->oid) ||
		   list_member_oid(GetSchemaPublications(get_rel_namespace(relation)), publication->oid);
}

void read_lists(const Publication *publication, Contract &contract)
{
	// Where the publication has the table in two ways, the one without conditions wins.
	Oid schema = get_rel_namespace(contract.published_as);
	if (publication->alltables ||
		SearchSysCacheExists2(PUBLICATIONNAMESPACEMAP, ObjectIdGetDatum(schema), ObjectIdGetDatum(publication->oid)))
		return;
	HeapTuple tuple =
		SearchSysCache2(PUBLICATIONRELMAP, ObjectIdGetDatum(contract.published_as), ObjectIdGetDatum(publication->oid));
	if (!HeapTupleIsValid(tuple))
		return;
	bool is_null;
	Datum columns = SysCacheGetAttr(PUBLICATIONRELMAP, tuple, Anum_pg_publication_rel_prattrs, &is_null);
	if (!is_null)
		contract.columns = pub_collist_to_bitmapset(nullptr, columns, CurrentMemoryContext);
	Datum filter = SysCacheGetAttr(PUBLICATIONRELMAP, tuple, Anum_pg_publication_rel_prqual, &is_null);
	if (!is_null)
		contract.filter = TextDatumGetCString(filter);
	ReleaseSysCache(tuple);
}

} // namespace

Contract read_contract(Relation relation, const char *name, bool own_publication)
{
	Oid id = RelationGetRelid(relation);
	Contract contract{};
	contract.published_as = id;
	Publication *publication = GetPublicationByName(name, true);
	if (publication == nullptr) {
		warn_of_missing(name, RelationGetRelationName(relation));
		return contract;
	}
	// WAL has more than tables: materialized views when refreshed concurrently, and what initdb made.
	contract.published = is_publishable_relation(relation) && is_member(publication, id, contract);
	if (!contract.published)
		return contract;
	// A partition tree is published as its leaves, or else as its root.
	if (relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE && !publication->pubviaroot) {
		contract.published = false;
		return contract;
	}
	contract.actions = publication->pubactions;
	contract.generated_columns = own_publication || pg::publishes_generated_columns(publication);
	read_lists(publication, contract);
	return contract;
}

bool is_sent(Form_pg_attribute attribute, const Contract &contract)
{
	if (attribute->attisdropped || attribute->attgenerated == 'v')
		return false;
	if (contract.columns != nullptr)
		return bms_is_member(attribute->attnum, contract.columns);
	return !attribute->attgenerated || contract.generated_columns;
}

} // namespace pgbraid::flow
