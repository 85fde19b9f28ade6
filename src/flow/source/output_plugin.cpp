// What PostgreSQL's logical decoding calls: pgbraid as an output plugin.
#include "flow/source/decoder.h"
#include "pg/boundary.h"

extern "C" {
#include "replication/logical.h"
}

namespace pgbraid::flow {

namespace {

// A slot of ours is of no use to anybody else: its position is the flow's.
void on_startup(LogicalDecodingContext *, OutputPluginOptions *options, bool is_init)
{
	if (!Decoder::is_active() && !is_init)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this replication slot belongs to a flow of pgbraid"),
						errhint("Use pgflow_create to publish changes; pgoutput or test_decoding to look at them.")));
	options->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
}

} // namespace

Decoder *Decoder::active_ = nullptr;

void Decoder::register_callbacks(OutputPluginCallbacks *callbacks)
{
	callbacks->startup_cb = on_startup;
	callbacks->begin_cb = [](LogicalDecodingContext *, ReorderBufferTXN *transaction) {
		pg::enter([](ReorderBufferTXN *t) { active_->begin(t); }, transaction);
	};
	callbacks->change_cb = [](LogicalDecodingContext *, ReorderBufferTXN *transaction, Relation relation,
							  ReorderBufferChange *change) {
		pg::enter([](ReorderBufferTXN *t, Relation r, ReorderBufferChange *c) { active_->change(t, r, c); },
				  transaction, relation, change);
	};
	callbacks->truncate_cb = [](LogicalDecodingContext *, ReorderBufferTXN *transaction, int count, Relation *relations,
								ReorderBufferChange *change) {
		pg::enter([](ReorderBufferTXN *t, int n, Relation *r, XLogRecPtr lsn) { active_->truncate(t, n, r, lsn); },
				  transaction, count, relations, change->lsn);
	};
	callbacks->message_cb = [](LogicalDecodingContext *context, ReorderBufferTXN *transaction, XLogRecPtr,
							   bool transactional, const char *prefix, Size size, const char *content) {
		// What is not transactional has the beginning of its record for its place. (PostgreSQL would say the end, which
		// may be where the record of a commit begins.)
		LogicalMessage message{prefix, {content, size}, {context->reader->ReadRecPtr, 1}, transactional};
		pg::enter([](ReorderBufferTXN *t, const LogicalMessage *m) { active_->message(t, *m); }, transaction, &message);
		if (!transactional)
			active_->message_ends_at(context->reader->EndRecPtr);
	};
	callbacks->commit_cb = [](LogicalDecodingContext *, ReorderBufferTXN *transaction, XLogRecPtr) {
		pg::enter([](ReorderBufferTXN *t) { active_->commit(t); }, transaction);
	};
}

} // namespace pgbraid::flow

PGBRAID_EXPORT void _PG_output_plugin_init(OutputPluginCallbacks *callbacks)
{
	pgbraid::flow::Decoder::register_callbacks(callbacks);
}
