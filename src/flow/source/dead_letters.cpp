#include "pg/prelude.h"

#include "flow/source/dead_letters.h"

#include "catalog/announcements.h"
#include "core/flow/oversize.h"
#include "flow/source/schema_log.h"
#include "pg/encoding.h"
#include "settings/settings.h"

extern "C" {
#include "mb/pg_wchar.h"
#include "storage/buffile.h"
#include "utils/memutils.h"
}

#include <algorithm>

namespace pgbraid::flow {

namespace {

// Subjects and headers are UTF-8.
std::string to_database_encoding(const std::string &text)
{
	const char *converted = pg::call([&] { return pg_any_to_server(text.data(), (int) text.size(), PG_UTF8); });
	return converted == text.data() ? text : converted;
}

} // namespace

DeadLetters::~DeadLetters()
{
	if (file_ != nullptr)
		BufFileClose(file_);
}

void DeadLetters::put_aside(const core::Batch::Message &message, std::string_view op, size_t max_payload)
{
	bool is_in_file = file_ != nullptr || bytes_ + message.payload.size() > settings::flow_memory();
	Letter letter{.position = message.position,
				  .subject = std::string(message.subject),
				  .id = std::string(message.id),
				  .op = std::string(op),
				  .headers = core::headers_before(message.headers, {}),
				  .payload = is_in_file ? std::string() : std::string(message.payload),
				  .max_payload = max_payload,
				  .size = message.payload.size(),
				  .is_in_file = is_in_file};
	if (is_in_file)
		pg::call([&] { write_to_file(message.payload); });
	bytes_ += letter.payload.size();
	letters_.push_back(std::move(letter));
}

void DeadLetters::write_to_file(std::string_view payload)
{
	if (file_ == nullptr) {
		MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
		file_ = BufFileCreateTemp(true);
		MemoryContextSwitchTo(caller);
	}
	BufFileWrite(file_, const_cast<char *>(payload.data()), payload.size());
}

void DeadLetters::read_from_file(Letter &letter)
{
	letter.payload.resize(letter.size);
	pg::call([&] {
		if (BufFileRead(file_, letter.payload.data(), letter.size) != letter.size)
			ereport(ERROR, (errcode_for_file_access(), errmsg("could not read back a dead letter")));
	});
}

core::Lsn DeadLetters::unsaved_since() const noexcept
{
	core::Lsn first = SchemaLog::nothing;
	for (const Letter &letter : letters_)
		first = std::min(first, letter.position.lsn);
	return first;
}

void DeadLetters::save()
{
	if (file_ != nullptr)
		pg::call([&] { (void) BufFileSeek(file_, 0, 0, SEEK_SET); });
	for (Letter &letter : letters_) {
		if (letter.is_in_file)
			read_from_file(letter);
		std::string subject = to_database_encoding(letter.subject), headers = to_database_encoding(letter.headers);
		catalog::save_dead_letter(flow_,
								  {.subject = subject,
								   .message_id = letter.id,
								   .op = letter.op,
								   .headers = headers,
								   .payload = letter.payload,
								   .position = letter.position},
								  (int64) letter.max_payload);
		letter.payload = std::string();
	}
	if (file_ != nullptr)
		pg::call([&] { BufFileClose(std::exchange(file_, nullptr)); });
	letters_.clear();
	bytes_ = 0;
}

} // namespace pgbraid::flow
