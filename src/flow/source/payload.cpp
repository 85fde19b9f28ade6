#include "flow/source/payload.h"

#include "core/flow/debezium.h"
#include "core/flow/json.h"
#include "pg/compat.h"

extern "C" {
#include "mb/pg_wchar.h"
}

namespace pgbraid::flow {

namespace {

using core::Bytes;

constexpr auto every_column = [](const ColumnPlan &) { return true; };
constexpr auto key_columns = [](const ColumnPlan &column) { return column.in_key; };
constexpr auto identity_columns = [](const ColumnPlan &column) { return column.in_identity; };

enum class Unchanged { left_out, placeholder };

// A value that the server did not log because it is stored out of line and did not change.
inline bool is_unchanged(const ColumnPlan &column, const RowImage &row)
{
	return column.is_varlena && !row.is_from_table && !row.nulls[column.index] &&
		   VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(row.values[column.index]));
}

// In the encoding of the database; SQL_ASCII promises nothing, and is mostly UTF-8.
size_t character_length(std::string_view text)
{
	int encoding = GetDatabaseEncoding();
	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return core::utf8_length(text);
	return (size_t) pg_encoding_mblen(encoding, text.data());
}

// Kept between calls, since an ereport would skip the destructor of a local. Never destroyed.
Bytes &scratch()
{
	static Bytes *bytes = new Bytes;
	bytes->clear();
	return *bytes;
}

// What the mask makes of the text of a value.
void append_masked_text(Bytes &to, const ColumnPlan &column, Datum value)
{
	const Mask &mask = column.mask;
	if (mask.kind == Mask::Kind::fixed)
		return to.append(mask.value);
	Bytes &plain = scratch();
	append_plain(plain, column.output, column.type, value);
	if (mask.kind == Mask::Kind::hash) {
		convert_to_utf8(plain, 0, BadBytes::keep); // so that the digits do not depend on the encoding
		mask.hmac->append(to, plain.view());
	} else {
		core::append_partly_hidden(to, plain.view(), mask.keep, character_length);
	}
}

void append_masked(Bytes &to, const ColumnPlan &column, Datum value)
{
	static Bytes *masked = new Bytes;
	masked->clear();
	append_masked_text(*masked, column, value);
	core::append_json_string(to, masked->view());
}

void append_column(Bytes &to, const ColumnPlan &column, const RowImage &row)
{
	to.append(column.label);
	if (row.nulls[column.index])
		to.append("null");
	else if (column.mask.kind != Mask::Kind::none)
		append_masked(to, column, row.values[column.index]);
	else
		append_value(to, column.type, row.values[column.index]);
}

// An object of the columns that `wanted` picks. Returns how many had to be left out because they are unchanged.
template <Unchanged unchanged_is = Unchanged::left_out, typename Wanted>
int append_object(Bytes &to, const RelationPlan &plan, const RowImage &row, const RowImage &other, Wanted wanted)
{
	int unchanged = 0;
	char separator = '{';
	for (int i = 0; i < plan.column_count; i++) {
		const ColumnPlan &column = plan.columns[i];
		if (!wanted(column))
			continue;
		const RowImage *source = is_unchanged(column, row) ? row_with(column, row, other) : &row;
		if (source == nullptr && unchanged_is == Unchanged::left_out) {
			unchanged++;
			continue;
		}
		to.append(separator);
		separator = ',';
		if (source == nullptr) {
			to.append(column.label);
			to.append(core::debezium_unavailable);
		} else {
			append_column(to, column, *source);
		}
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

// An insert may have come out of an update: what was there before is then nobody's business.
bool shows_before(const Change &change)
{
	return change.before.values != nullptr && change.operation != Operation::insert;
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

void append_row(Bytes &to, const RelationPlan &plan, const Change &change)
{
	if (change.after.values != nullptr)
		append_object(to, plan, change.after, change.before, every_column);
	else if (change.before.values != nullptr)
		append_object(to, plan, change.before, {}, identity_columns);
}

void append_key_and_rows(Bytes &to, const RelationPlan &plan, const Change &change)
{
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
	if (shows_before(change)) {
		to.append(",\"before\":");
		append_object(to, plan, change.before, {}, identity_columns);
	}
}

void append_before_and_after(Bytes &to, const RelationPlan &plan, const Change &change)
{
	to.append("\"before\":");
	if (shows_before(change))
		append_object(to, plan, change.before, {}, identity_columns);
	else
		to.append("null");
	to.append(",\"after\":");
	if (change.after.values != nullptr)
		append_object<Unchanged::placeholder>(to, plan, change.after, change.before, every_column);
	else
		to.append("null");
}

void append_text(Bytes &to, const ColumnPlan &column, Datum value)
{
	if (column.mask.kind == Mask::Kind::none)
		append_plain(to, column.output, column.type, value);
	else
		append_masked_text(to, column, value);
}

void append_key_object(Bytes &to, const RelationPlan &plan, const Change &change)
{
	append_object(to, plan, change.after.values ? change.after : change.before, change.before, key_columns);
}

} // namespace pgbraid::flow
