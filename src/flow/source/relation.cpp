#include "flow/source/relation.h"

#include "core/flow/event.h"
#include "core/flow/json.h"
#include "flow/source/contract.h"
#include "flow/source/row_filter.h"
#include "pg/boundary.h"

extern "C" {
#include "access/htup_details.h"
#include "catalog/partition.h"
#include "nodes/bitmapset.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
}

#include <algorithm>

namespace pgbraid::flow {

// Columns of the table as stored.
struct Identity {
	Bitmapset *logged; // in the old row that WAL carries
	Bitmapset *key;	   // what names the row
};

namespace {

struct CachedPlan {
	Oid relation;
	RelationPlan *plan;
};

HTAB *plans = nullptr; // Oid -> CachedPlan; global, since invalidation callbacks can't be unregistered

template <typename F>
void for_each_plan(F &&f)
{
	HASH_SEQ_STATUS scan;
	hash_seq_init(&scan, plans);
	while (auto *cached = static_cast<CachedPlan *>(hash_seq_search(&scan)))
		if (cached->plan != nullptr)
			f(*cached->plan);
}

// Only marks: a plan may be in use when the invalidation arrives.
void invalidate_relation(Datum, Oid relation)
{
	for_each_plan([=](RelationPlan &plan) {
		if (relation == InvalidOid || plan.relation == relation || list_member_oid(plan.ancestors, relation))
			plan.valid = false;
	});
}

void invalidate_all(Datum, int, uint32)
{
	for_each_plan([](RelationPlan &plan) { plan.valid = false; });
}

void create_cache()
{
	HASHCTL control = {};
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(CachedPlan);
	control.hcxt = TopMemoryContext;
	plans = hash_create("pgbraid relation plans", 128, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(invalidate_relation, 0);
	for (auto cache : {PUBLICATIONOID, PUBLICATIONNAME, PUBLICATIONRELMAP, PUBLICATIONNAMESPACEMAP, NAMESPACEOID})
		CacheRegisterSyscacheCallback(cache, invalidate_all, 0);
}

// The columns of an index, as attribute numbers of its table; null without one.
Bitmapset *index_columns(Oid index)
{
	if (!OidIsValid(index))
		return nullptr;
	Bitmapset *columns = nullptr;
	Relation relation = RelationIdGetRelation(index);
	if (!RelationIsValid(relation))
		return nullptr;
	for (int i = 0; i < relation->rd_index->indnkeyatts; i++)
		columns = bms_add_member(columns, relation->rd_index->indkey.values[i]);
	RelationClose(relation);
	return columns;
}

std::string_view keep(std::string_view text)
{
	auto *copy = static_cast<char *>(palloc(text.size() + 1));
	memcpy(copy, text.data(), text.size());
	copy[text.size()] = '\0';
	return {copy, text.size()};
}

} // namespace

RelationPlans::RelationPlans(const PlanOptions &options) : options_(options)
{
	pg::call([] {
		if (plans == nullptr)
			create_cache();
	});
}

RelationPlan *RelationPlans::get(Relation relation, bool *is_new)
{
	Oid id = RelationGetRelid(relation);
	bool found;
	auto *cached = static_cast<CachedPlan *>(hash_search(plans, &id, HASH_ENTER, &found));
	if (!found)
		cached->plan = nullptr;
	*is_new = cached->plan == nullptr || !cached->plan->valid;
	if (*is_new) {
		if (cached->plan != nullptr)
			MemoryContextDelete(std::exchange(cached->plan, nullptr)->memory);
		cached->plan = make(relation); // may take long and meet invalidations: they find no plan
	}
	return cached->plan;
}

RelationPlan *RelationPlans::make(Relation relation)
{
	MemoryContext memory = AllocSetContextCreate(TopMemoryContext, "pgbraid relation plan", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(memory);
	auto *plan = static_cast<RelationPlan *>(palloc0(sizeof(RelationPlan)));
	plan->memory = memory;
	plan->relation = plan->published_as = RelationGetRelid(relation);
	plan->ancestors = relation->rd_rel->relispartition ? get_partition_ancestors(RelationGetRelid(relation)) : NIL;
	plan->valid = true;
	plan->is_ours = strcmp(get_namespace_name(RelationGetNamespace(relation)), "pgbraid") == 0;
	Contract contract = read_contract(relation, options_.publication, options_.own_publication);
	if (contract.published && !plan->is_ours) {
		plan->published_as = contract.published_as;
		plan->inserts = contract.actions.pubinsert;
		plan->updates = contract.actions.pubupdate;
		plan->deletes = contract.actions.pubdelete;
		plan->truncates = contract.actions.pubtruncate;
		describe(*plan, relation, contract);
	}
	MemoryContextSwitchTo(caller);
	return plan;
}

std::string_view RelationPlans::keep_as_utf8(const char *name)
{
	scratch_.clear();
	scratch_.append(name);
	convert_to_utf8(scratch_, 0, BadBytes::keep);
	return keep(scratch_.view());
}

void RelationPlans::describe(RelationPlan &plan, Relation stored, const Contract &contract)
{
	Relation published = plan.published_as == plan.relation ? stored : RelationIdGetRelation(plan.published_as);
	const char *schema = get_namespace_name(RelationGetNamespace(published)),
			   *table = RelationGetRelationName(published);
	scratch_.clear();
	core::append_table_frame(scratch_, schema, table);
	plan.frame = keep(scratch_.view());
	plan.schema = keep_as_utf8(schema);
	plan.table = keep_as_utf8(table);
	plan_columns(plan, stored, published, contract);
	if (published != stored)
		RelationClose(published);
	if (options_.sort_columns)
		std::sort(plan.columns, plan.columns + plan.column_count,
				  [](const ColumnPlan &a, const ColumnPlan &b) { return a.name < b.name; });
}

void RelationPlans::plan_columns(RelationPlan &plan, Relation stored, Relation published, const Contract &contract)
{
	TupleDesc attributes = RelationGetDescr(published);
	plan.whole_row_identity = stored->rd_rel->relreplident == REPLICA_IDENTITY_FULL;
	Bitmapset *replica_identity = index_columns(RelationGetReplicaIndex(stored));
	Identity identity = {replica_identity,
						 plan.whole_row_identity ? index_columns(stored->rd_pkindex) : replica_identity};
	plan.columns = static_cast<ColumnPlan *>(palloc0(sizeof(ColumnPlan) * (size_t) (attributes->natts + 1)));
	plan.filter_columns = static_cast<ColumnPlan *>(palloc0(sizeof(ColumnPlan) * (size_t) (attributes->natts + 1)));
	for (int i = 0; i < attributes->natts; i++) {
		Form_pg_attribute attribute = TupleDescAttr(attributes, i);
		if (attribute->attisdropped)
			continue;
		ColumnPlan column = plan_column(attribute, plan, identity);
		if (contract.filter != nullptr)
			plan.filter_columns[plan.filter_column_count++] = column;
		if (!is_sent(attribute, contract))
			continue;
		plan.columns[plan.column_count++] = column;
		plan.has_key = plan.has_key || column.in_key;
	}
	if (contract.filter != nullptr)
		plan.filter = make_row_filter(contract.filter, published);
}

// A partition may keep its columns in another order than its root: the name is what they share.
ColumnPlan RelationPlans::plan_column(Form_pg_attribute attribute, const RelationPlan &plan, const Identity &identity)
{
	int number =
		plan.published_as == plan.relation ? attribute->attnum : get_attnum(plan.relation, NameStr(attribute->attname));
	scratch_.clear();
	core::append_json_string(scratch_, NameStr(attribute->attname));
	scratch_.append(':');
	return {.name = keep(NameStr(attribute->attname)),
			.label = keep(scratch_.view()),
			.index = number - 1,
			.published_index = attribute->attnum - 1,
			.type = plan_type(attribute->atttypid),
			.in_key = bms_is_member(number, identity.key),
			.in_identity = plan.whole_row_identity || bms_is_member(number, identity.logged)};
}

} // namespace pgbraid::flow
