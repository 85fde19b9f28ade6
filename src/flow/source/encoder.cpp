#include "flow/source/encoder.h"

#include "core/flow/json.h"
#include "pg/compat.h"

namespace pgbraid::flow {

namespace {

using core::Bytes;

// A value that the server did not log because it is stored out of line and did not change.
bool is_unchanged(const ColumnPlan &column, const RowImage &row)
{
	return !row.is_from_table && !row.nulls[column.index] && column.type->is_varlena &&
		   VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(row.values[column.index]));
}

// An object of the columns that `wanted` picks. Returns how many had to be left out because they are unchanged.
template <typename Wanted>
int append_object(Bytes &to, const RelationPlan &plan, const RowImage &row, const RowImage &other, Wanted wanted)
{
	int unchanged = 0;
	char separator = '{';
	for (int i = 0; i < plan.column_count; i++) {
		const ColumnPlan &column = plan.columns[i];
		if (!wanted(column))
			continue;
		const RowImage *source = row_with(column, row, other);
		if (source == nullptr) {
			unchanged++;
			continue;
		}
		to.append(separator);
		separator = ',';
		to.append(column.label);
		if (source->nulls[column.index])
			to.append("null");
		else
			append_value(to, column.type, source->values[column.index]);
	}
	to.append(separator == '{' ? "{}" : "}");
	return unchanged;
}

void append_unchanged_names(Bytes &to, const RelationPlan &plan, const Change &change)
{
	char separator = '[';
	to.append(",\"unchanged\":");
	for (int i = 0; i < plan.column_count; i++) {
		const ColumnPlan &column = plan.columns[i];
		if (row_with(column, change.after, change.before) != nullptr)
			continue;
		to.append(separator);
		separator = ',';
		core::append_json_string(to, column.name);
	}
	to.append(']');
}

constexpr auto every_column = [](const ColumnPlan &) { return true; };
constexpr auto key_columns = [](const ColumnPlan &column) { return column.in_key; };
constexpr auto identity_columns = [](const ColumnPlan &column) { return column.in_identity; };

void append_rows(Bytes &to, const RelationPlan &plan, const Change &change)
{
	to.append('[');
	if (change.after.values != nullptr)
		append_object(to, plan, change.after, change.before, every_column);
	else if (change.before.values != nullptr)
		append_object(to, plan, change.before, {}, identity_columns);
	to.append(']');
}

} // namespace

const RowImage *row_with(const ColumnPlan &column, const RowImage &row, const RowImage &other)
{
	if (!is_unchanged(column, row))
		return &row;
	if (other.values != nullptr && column.in_identity && !is_unchanged(column, other))
		return &other;
	return nullptr;
}

const char *name_of(Operation operation)
{
	static constexpr const char *names[] = {"snapshot", "insert", "update", "delete", "truncate"};
	return names[static_cast<int>(operation)];
}

Encoder::Encoder(Format format, core::SubjectTemplate subject, std::string database, core::History history)
	: format_(format), template_(std::move(subject)), database_(std::move(database)), history_(std::move(history))
{
}

void Encoder::start_transaction(core::Lsn commit_lsn, TransactionId xid, TimestampTz commit_time)
{
	transaction_.start(commit_lsn, xid, commit_time);
}

std::string_view Encoder::prepare(RelationPlan &plan)
{
	if (!template_.uses_op() && !template_.uses_key()) {
		subject_.clear();
		template_.render(subject_,
						 {.database = database_, .schema = plan.schema, .table = plan.table, .op = {}, .key = {}});
		auto *copy = static_cast<char *>(MemoryContextAlloc(plan.memory, subject_.size()));
		memcpy(copy, subject_.data(), subject_.size());
		plan.subject = {copy, subject_.size()};
	}
	pattern_ =
		template_.pattern({.database = database_, .schema = plan.schema, .table = plan.table, .op = {}, .key = {}});
	return pattern_;
}

std::string_view Encoder::subject_of(const RelationPlan &plan, const Change &change)
{
	if (!plan.subject.empty())
		return plan.subject;
	key_.clear();
	bool is_first = true;
	const RowImage &row = change.after.values ? change.after : change.before;
	for (int i = 0; template_.uses_key() && row.values != nullptr && i < plan.column_count; i++) {
		const ColumnPlan &column = plan.columns[i];
		const RowImage *source = column.in_key ? row_with(column, row, change.before) : nullptr;
		if (source == nullptr || source->nulls[column.index])
			continue;
		if (!is_first)
			key_.append(',');
		is_first = false;
		append_plain(key_, column.type, source->values[column.index]);
	}
	convert_to_utf8(key_, 0, BadBytes::keep);
	subject_.clear();
	template_.render(subject_, {.database = database_,
								.schema = plan.schema,
								.table = plan.table,
								.op = name_of(change.operation),
								.key = {key_.empty() ? "" : key_.data(), key_.size()}});
	return subject_.view();
}

// Where the payload does not name the operation, a header does. A row of a snapshot says how far that has come.
std::string_view Encoder::headers_of(const Change &change)
{
	headers_.clear();
	if (format_ == Format::rows) {
		headers_.append("Pgbraid-Op: ");
		headers_.append(name_of(change.operation));
		headers_.append("\r\n");
	}
	if (!change.snapshot.empty()) {
		headers_.append("Pgbraid-Snapshot: ");
		headers_.append(change.snapshot);
		headers_.append("\r\n");
	}
	return headers_.empty() ? std::string_view() : headers_.view();
}

void Encoder::append_json(Bytes &to, const RelationPlan &plan, const Change &change)
{
	core::append_event_head(to, name_of(change.operation), plan.frame, transaction_, change.position.seq);
	const RowImage &row = change.after.values ? change.after : change.before;
	if (plan.has_key && row.values != nullptr) {
		to.append(",\"key\":");
		append_object(to, plan, row, change.before, key_columns);
	}
	if (change.after.values != nullptr) {
		to.append(",\"after\":");
		if (append_object(to, plan, change.after, change.before, every_column) > 0)
			append_unchanged_names(to, plan, change);
	}
	if (change.before.values != nullptr && change.operation != Operation::insert) {
		to.append(",\"before\":");
		append_object(to, plan, change.before, {}, identity_columns);
	}
	to.append('}');
}

std::string_view Encoder::subject_of_table(const RelationPlan &plan, const char *op)
{
	if (!plan.subject.empty())
		return plan.subject;
	subject_.clear();
	template_.render(subject_,
					 {.database = database_, .schema = plan.schema, .table = plan.table, .op = op, .key = ""});
	return subject_.view();
}

void Encoder::append_stub(core::Batch &batch, const RelationPlan &plan, const Change &change, size_t size,
						  bool with_key)
{
	std::string_view subject = subject_of(plan, change);
	(void) headers_of(change);
	headers_.append("Pgbraid-Oversize: ");
	core::append_json_integer(headers_, (int64) size);
	headers_.append("\r\n");
	batch.begin(subject, history_, change.position, headers_.view());
	Bytes &to = batch.payload();
	size_t start = to.size();
	const RowImage &row = change.after.values ? change.after : change.before;
	bool has_key = with_key && plan.has_key && row.values != nullptr;
	if (format_ == Format::rows) {
		to.append('[');
	} else {
		core::append_event_head(to, name_of(change.operation), plan.frame, transaction_, change.position.seq);
		to.append(has_key ? ",\"key\":" : "");
	}
	if (has_key)
		append_object(to, plan, row, change.before, key_columns);
	if (format_ != Format::rows) {
		to.append(",\"oversize\":");
		core::append_json_integer(to, (int64) size);
	}
	to.append(format_ == Format::rows ? ']' : '}');
	convert_to_utf8(to, start);
	batch.end();
}

void Encoder::append(core::Batch &batch, const RelationPlan &plan, const Change &change)
{
	batch.begin(subject_of(plan, change), history_, change.position, headers_of(change));
	size_t start = batch.payload().size();
	if (format_ == Format::rows)
		append_rows(batch.payload(), plan, change);
	else
		append_json(batch.payload(), plan, change);
	convert_to_utf8(batch.payload(), start);
	batch.end();
}

} // namespace pgbraid::flow
