#include "flow/source/relation.h"

#include "core/flow/event.h"
#include "core/flow/json.h"
#include "flow/source/contract.h"
#include "flow/source/row_filter.h"
#include "flow/source/table_reader.h"
#include "pg/boundary.h"

extern "C" {
#include "access/htup_details.h"
#include "catalog/partition.h"
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
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

struct CachedPlan {
	Oid relation;
	RelationPlan *plan;
};

namespace {

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

FmgrInfo *output_function(Oid type)
{
	Oid function;
	bool is_varlena;
	getTypeOutputInfo(type, &function, &is_varlena);
	auto *info = static_cast<FmgrInfo *>(palloc0(sizeof(FmgrInfo)));
	fmgr_info(function, info);
	return info;
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
	if (last_ != nullptr && last_->relation == id && last_->plan != nullptr && last_->plan->valid) {
		*is_new = false;
		return last_->plan;
	}
	bool found;
	auto *cached = static_cast<CachedPlan *>(hash_search(plans, &id, HASH_ENTER, &found));
	if (!found)
		cached->plan = nullptr;
	last_ = cached; // entries are never removed
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

namespace {

bool hides_any(const RelationPlan &plan, const Bitmapset *columns)
{
	for (int number = -1; (number = bms_next_member(columns, number)) >= 0;) {
		ColumnPlan *end = plan.columns + plan.column_count;
		bool is_shown = std::any_of(plan.columns, end, [=](const ColumnPlan &column) {
			return column.index == number - 1 && column.mask.kind == Mask::Kind::none;
		});
		if (!is_shown)
			return true;
	}
	return false;
}

} // namespace

void RelationPlans::describe(RelationPlan &plan, Relation stored, Contract &contract)
{
	Relation published = plan.published_as == plan.relation ? stored : RelationIdGetRelation(plan.published_as);
	const char *schema = get_namespace_name(RelationGetNamespace(published)),
			   *table = RelationGetRelationName(published);
	scratch_.clear();
	core::append_table_frame(scratch_, schema, table);
	plan.frame = keep(scratch_.view());
	plan.schema = keep_as_utf8(schema);
	plan.table = keep_as_utf8(table);
	const char *name = quote_qualified_identifier(schema, table);
	contract.own_filter = own_filter(name);
	plan_columns(plan, stored, published, contract);
	if (published != stored)
		RelationClose(published);
	apply_rules(plan, name);
	plan.hides_reading_key = hides_any(plan, index_columns(reading_index(stored)));
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
		if (contract.filter != nullptr || contract.own_filter != nullptr)
			plan.filter_columns[plan.filter_column_count++] = column;
		if (!is_sent(attribute, contract))
			continue;
		plan.columns[plan.column_count++] = column;
		plan.has_key = plan.has_key || column.in_key;
	}
	if (plan.filter_column_count > 0)
		plan_filter(plan, published, contract);
}

// PostgreSQL guards the filter of a publication when rows change; the flow's own filter is guarded here.
void RelationPlans::plan_filter(RelationPlan &plan, Relation published, const Contract &contract)
{
	Bitmapset *used = nullptr;
	plan.filter = make_row_filter(contract.filter, contract.own_filter, published, &used);
	for (int i = 0; i < plan.filter_column_count && (plan.updates || plan.deletes); i++) {
		const ColumnPlan &column = plan.filter_columns[i];
		if (bms_is_member(column.published_index, used) && !column.in_identity)
			ereport(ERROR, (errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
							errmsg("the flow's filter of table \"%s\" uses column \"%.*s\", which is not part of the "
								   "replica identity",
								   RelationGetRelationName(published), (int) column.name.size(), column.name.data()),
							errhint("ALTER TABLE ... REPLICA IDENTITY FULL, or change the filter with pgflow_alter.")));
	}
}

const char *RelationPlans::own_filter(const char *table) const
{
	for (const catalog::TableFilter &filter : *options_.filters)
		if (filter.table == table)
			return filter.condition.c_str();
	return nullptr;
}

// A partition may keep its columns in another order than its root: the name is what they share.
ColumnPlan RelationPlans::plan_column(Form_pg_attribute attribute, const RelationPlan &plan, const Identity &identity)
{
	int number =
		plan.published_as == plan.relation ? attribute->attnum : get_attnum(plan.relation, NameStr(attribute->attname));
	return {.name = keep(NameStr(attribute->attname)),
			.label = label_of(NameStr(attribute->attname)),
			.index = number - 1,
			.published_index = attribute->attnum - 1,
			.type = plan_type(attribute->atttypid),
			.output = output_function(attribute->atttypid),
			.mask = {},
			.in_key = bms_is_member(number, identity.key),
			.in_identity = plan.whole_row_identity || bms_is_member(number, identity.logged),
			.is_varlena = attribute->attlen == -1};
}

std::string_view RelationPlans::label_of(std::string_view name)
{
	scratch_.clear();
	core::append_json_string(scratch_, name);
	scratch_.append(':');
	return keep(scratch_.view());
}

namespace {

Mask::Kind mask_named(const std::string &name)
{
	return name == "hash"	   ? Mask::Kind::hash
		   : name == "partial" ? Mask::Kind::partial
		   : name == "fixed"   ? Mask::Kind::fixed
							   : Mask::Kind::none;
}

bool hides(const catalog::ColumnRule &rule)
{
	return rule.drop || !rule.mask.empty();
}

// pgflow_create and pgflow_alter have looked at the table as it is now. Here it is as it was, or as it came later; and
// rather than to let a value out that was to be hidden the flow stops.
void require_column(const RelationPlan &plan, const catalog::ColumnRule &rule)
{
	if (rule.if_exists || !hides(rule) || get_attnum(plan.published_as, rule.column.c_str()) != InvalidAttrNumber)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of table %s, which the flow hides, does not exist", rule.column.c_str(),
					rule.table.c_str()),
			 errhint("If it was renamed, name both in the option \"columns\", with \"if_exists\": true; if it was "
					 "dropped, \"if_exists\" is enough. See pgflow_alter.")));
}

void require_no_key(const ColumnPlan &column, const catalog::ColumnRule &rule)
{
	if (column.in_key && (rule.drop || rule.mask == "fixed" || rule.mask == "partial"))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("column \"%s\" of table %s is part of the key, which must tell rows apart",
							   rule.column.c_str(), rule.table.c_str()),
						errhint("Change its rule to {\"mask\": \"hash\"} with pgflow_alter.")));
}

void require_distinct_names(const RelationPlan &plan)
{
	for (int i = 0; i < plan.column_count; i++)
		for (int j = 0; j < i; j++)
			if (plan.columns[i].name == plan.columns[j].name)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("two columns of table \"%.*s\" are published as \"%.*s\"", (int) plan.table.size(),
								plan.table.data(), (int) plan.columns[i].name.size(), plan.columns[i].name.data()),
						 errhint("Give one another name in the option \"columns\" of pgflow_alter.")));
}

} // namespace

void RelationPlans::apply_rules(RelationPlan &plan, const char *table)
{
	bool any = false;
	for (const catalog::ColumnRule &rule : *options_.rules) {
		if (rule.table != table)
			continue;
		any = true;
		require_column(plan, rule);
	}
	if (!any)
		return;
	int kept = 0;
	for (int i = 0; i < plan.column_count; i++)
		if (apply_rule(plan.columns[i], table))
			plan.columns[kept++] = plan.columns[i];
	plan.column_count = kept;
	require_distinct_names(plan);
}

// False: the column does not leave.
bool RelationPlans::apply_rule(ColumnPlan &column, const char *table)
{
	for (const catalog::ColumnRule &rule : *options_.rules) {
		if (rule.table != table || rule.column != column.name)
			continue;
		require_no_key(column, rule);
		column.mask = {mask_named(rule.mask), (std::size_t) rule.keep, keep(rule.value), options_.hmac};
		if (!rule.rename.empty()) {
			column.name = keep(rule.rename);
			column.label = label_of(column.name);
		}
		return !rule.drop;
	}
	return true;
}

} // namespace pgbraid::flow
