#include "flow/source/schema_log.h"

#include "catalog/announcements.h"
#include "core/flow/event.h"

extern "C" {
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/relcache.h"
}

namespace pgbraid::flow {

namespace {

const char *identity_of(Relation relation)
{
	switch (relation->rd_rel->relreplident) {
		case REPLICA_IDENTITY_FULL: return "full";
		case REPLICA_IDENTITY_INDEX: return "index";
		case REPLICA_IDENTITY_NOTHING: return "nothing";
		default: return "default";
	}
}

// What names a row of the table as published: not of a partition, each of which could have another key.
Bitmapset *key_of(Relation relation)
{
	bool is_full = relation->rd_rel->relreplident == REPLICA_IDENTITY_FULL;
	Oid identity = RelationGetReplicaIndex(relation); // looks for the primary key too
	Oid index = is_full ? relation->rd_pkindex : identity;
	if (!OidIsValid(index))
		return nullptr;
	Bitmapset *columns = nullptr;
	Relation opened = RelationIdGetRelation(index);
	if (!RelationIsValid(opened))
		return nullptr;
	for (int i = 0; i < opened->rd_index->indnkeyatts; i++)
		columns = bms_add_member(columns, opened->rd_index->indkey.values[i]);
	RelationClose(opened);
	return columns;
}

bool leaves(const RelationPlan &plan, int published_index)
{
	for (int i = 0; i < plan.column_count; i++)
		if (plan.columns[i].published_index == published_index)
			return true;
	return false;
}

template <typename F>
void for_each_column(const RelationPlan &plan, Relation published, F &&f)
{
	TupleDesc attributes = RelationGetDescr(published);
	for (int i = 0; i < attributes->natts; i++)
		if (leaves(plan, i))
			f(TupleDescAttr(attributes, i));
}

void describe(core::Bytes &to, const RelationPlan &plan, Relation published)
{
	Bitmapset *key = key_of(published);
	core::ShapeWriter shape(to);
	for_each_column(plan, published, [&](Form_pg_attribute attribute) {
		shape.column(NameStr(attribute->attname), format_type_with_typemod(attribute->atttypid, attribute->atttypmod),
					 !attribute->attnotnull, bms_is_member(attribute->attnum, key));
	});
	for_each_column(plan, published, [&](Form_pg_attribute attribute) {
		if (bms_is_member(attribute->attnum, key))
			shape.key(NameStr(attribute->attname));
	});
	shape.finish(identity_of(published));
}

} // namespace

SchemaLog::SchemaLog(int64 flow, int64 generation, SchemaEvents events)
	: flow_(flow), generation_(generation), events_(events)
{
}

void SchemaLog::load(core::Position after)
{
	catalog::forget_schemas(flow_, generation_, after);
	history_ = catalog::read_schemas(flow_, generation_);
}

const core::SchemaVersion *SchemaLog::begins_at(RelationPlan &plan, Relation relation, core::Position position)
{
	Relation published =
		plan.published_as == RelationGetRelid(relation) ? relation : RelationIdGetRelation(plan.published_as);
	if (!RelationIsValid(published))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table %u is gone", plan.published_as)));
	shape_.clear();
	describe(shape_, plan, published);
	if (published != relation)
		RelationClose(published);
	plan.shape_is_known = true;
	const core::SchemaVersion &version = history_.at(plan.published_as, position, plan.frame, shape_.view());
	bool begins = version.since == core::Position{position.lsn, position.seq, 0};
	return begins && (version.version > 1 || events_ == SchemaEvents::all) ? &version : nullptr;
}

void SchemaLog::save()
{
	if (!has_unsaved())
		return;
	catalog::save_schemas(flow_, generation_, history_.unsaved());
	history_.saved();
}

} // namespace pgbraid::flow
