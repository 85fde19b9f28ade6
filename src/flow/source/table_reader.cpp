#include "flow/source/table_reader.h"

#include "core/flow/json.h"
#include "pg/compat.h"
#include "pg/spi.h"

extern "C" {
#include "access/nbtree.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_am_d.h"
#include "storage/bufmgr.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
}

#include <vector>

namespace pgbraid::flow {

namespace {

std::vector<std::string> texts_of(const std::optional<std::string> &key)
{
	std::vector<std::string> texts;
	if (key)
		pg::spi::each("SELECT jsonb_array_elements_text($1::jsonb)", {pg::spi::text(*key)},
					  [&](const pg::spi::Row &row) { texts.push_back(row.text(1)); });
	return texts;
}

} // namespace

Oid reading_index(Relation table)
{
	Oid index = RelationGetReplicaIndex(table);
	return OidIsValid(index) ? index : table->rd_pkindex;
}

void append_key_part(core::Bytes &to, Oid type, Datum value)
{
	Oid output;
	bool is_varlena;
	getTypeOutputInfo(type, &output, &is_varlena);
	core::append_json_string(to, OidOutputFunctionCall(output, value));
}

TableReader::TableReader(Oid table, const std::optional<std::string> &key, From from)
{
	std::vector<std::string> texts = texts_of(key);
	pg::call([&] { open(table); });
	if (table_ == nullptr)
		return;
	if (index_ != nullptr)
		begin_by_key(texts, from);
	else
		begin_by_place(texts);
}

void TableReader::open(Oid table)
{
	table_ = try_table_open(table, AccessShareLock);
	if (table_ == nullptr)
		return;
	slot_ = table_slot_create(table_, nullptr);
	Oid index = reading_index(table_);
	if (OidIsValid(index))
		index_ = index_open(index, AccessShareLock);
}

// After: part of a row comparison, for which nbtree wants the ordering function in place of the operator's.
ScanKeyData TableReader::scan_key(int i, const std::string &text, From from)
{
	return pg::call([&] {
		AttrNumber column = index_->rd_index->indkey.values[i];
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(table_), column - 1);
		Oid input, parameter;
		getTypeInputInfo(attribute->atttypid, &input, &parameter);
		Datum value = OidInputFunctionCall(input, const_cast<char *>(text.c_str()), parameter, attribute->atttypmod);
		Oid family = index_->rd_opfamily[i], type = index_->rd_opcintype[i];
		bool after = from == From::after;
		Oid function = after ? get_opfamily_proc(family, type, type, BTORDER_PROC)
							 : get_opcode(get_opfamily_member(family, type, type, BTEqualStrategyNumber));
		ScanKeyData key;
		ScanKeyEntryInitialize(&key, after ? SK_ROW_MEMBER : 0, (AttrNumber) (i + 1),
							   after ? BTGreaterStrategyNumber : BTEqualStrategyNumber, InvalidOid,
							   index_->rd_indcollation[i], function, value);
		return key;
	});
}

void TableReader::begin_by_key(const std::vector<std::string> &key, From from)
{
	for (size_t i = 0; i < key.size(); i++)
		keys_[i] = scan_key((int) i, key[i], from);
	pg::call([&] {
		ScanKeyData after = {}, *conditions = keys_;
		int count = (int) key.size();
		if (from == From::after && count > 0) {
			keys_[count - 1].sk_flags |= SK_ROW_END;
			after.sk_flags = SK_ROW_HEADER;
			after.sk_attno = 1;
			after.sk_strategy = BTGreaterStrategyNumber;
			after.sk_argument = PointerGetDatum(keys_);
			conditions = &after;
			count = 1;
		}
		index_scan_ = pg::begin_index_scan(table_, index_, GetActiveSnapshot(), count);
		index_rescan(index_scan_, conditions, count, nullptr, 0);
	});
}

void TableReader::begin_by_place(const std::vector<std::string> &key)
{
	ItemPointerData first, last;
	ItemPointerSet(&first, 0, FirstOffsetNumber);
	ItemPointerSet(&last, MaxBlockNumber, MaxOffsetNumber);
	if (key.size() == 2)
		ItemPointerSet(&first, (BlockNumber) std::stoul(key[0]), (OffsetNumber) (std::stoul(key[1]) + 1));
	pg::call([&] { table_scan_ = table_beginscan_tidrange(table_, GetActiveSnapshot(), &first, &last); });
}

bool TableReader::next()
{
	return pg::call([&] {
		bool found = index_scan_ != nullptr ? index_getnext_slot(index_scan_, ForwardScanDirection, slot_)
											: table_scan_getnextslot_tidrange(table_scan_, ForwardScanDirection, slot_);
		if (found)
			slot_getallattrs(slot_);
		return found;
	});
}

RowOrigin TableReader::origin() const
{
	HeapTupleHeader header = reinterpret_cast<HeapTupleTableSlot *>(slot_)->tuple->t_data;
	Buffer page = reinterpret_cast<BufferHeapTupleTableSlot *>(slot_)->buffer;
	return {.writer = HeapTupleHeaderGetRawXmin(header),
			.is_frozen = HeapTupleHeaderXminFrozen(header),
			.is_update = (header->t_infomask & HEAP_UPDATED) != 0,
			.page_lsn = pg::call([=] { return BufferGetLSNAtomic(page); })};
}

std::string_view TableReader::key()
{
	key_.clear();
	pg::call([&] {
		if (index_ != nullptr) {
			append_key(key_, table_, index_, [this](AttrNumber column) { return slot_->tts_values[column - 1]; });
			return;
		}
		char place[32];
		snprintf(place, sizeof place, "[%u,%u]", ItemPointerGetBlockNumber(&slot_->tts_tid),
				 ItemPointerGetOffsetNumber(&slot_->tts_tid));
		key_.append(place);
	});
	return key_.view();
}

void TableReader::close()
{
	if (table_ == nullptr)
		return;
	pg::call([&] {
		if (index_scan_ != nullptr)
			index_endscan(index_scan_);
		if (table_scan_ != nullptr)
			table_endscan(table_scan_);
		ExecDropSingleTupleTableSlot(slot_);
		if (index_ != nullptr)
			index_close(index_, AccessShareLock);
		table_close(table_, AccessShareLock);
	});
}

} // namespace pgbraid::flow
