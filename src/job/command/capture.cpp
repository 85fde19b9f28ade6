#include "job/command/capture.h"

#include "job/command/notices.h"

extern "C" {
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "utils/lsyscache.h"
}

namespace pgbraid::job {

namespace {

void at_start(DestReceiver *self, int, TupleDesc)
{
	auto *capture = reinterpret_cast<Capture *>(self);
	capture->has_row = false;
	capture->value = nullptr;
}

bool at_row(TupleTableSlot *slot, DestReceiver *self)
{
	auto *capture = reinterpret_cast<Capture *>(self);
	if (capture->has_row || slot->tts_tupleDescriptor->natts == 0)
		return true;
	capture->has_row = true;
	bool is_null;
	Datum value = slot_getattr(slot, 1, &is_null);
	if (is_null)
		return true;
	Oid output;
	bool is_varlena;
	getTypeOutputInfo(TupleDescAttr(slot->tts_tupleDescriptor, 0)->atttypid, &output, &is_varlena);
	MemoryContext caller = MemoryContextSwitchTo(capture->context);
	char *text = OidOutputFunctionCall(output, value);
	int length = (int) strlen(text);
	text[pg_mbcliplen(text, length, (int) Min((size_t) length, longest_text))] = '\0';
	capture->value = text;
	MemoryContextSwitchTo(caller);
	return true;
}

void at_end(DestReceiver *)
{
}

} // namespace

Capture make_capture(MemoryContext context)
{
	return {{at_row, at_start, at_end, at_end, DestNone}, context, nullptr, false};
}

} // namespace pgbraid::job
