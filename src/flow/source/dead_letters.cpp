#include "pg/prelude.h"

#include "flow/source/dead_letters.h"

#include "catalog/announcements.h"
#include "core/flow/oversize.h"
#include "pg/encoding.h"
#include "settings/settings.h"

extern "C" {
#include "mb/pg_wchar.h"
#include "storage/buffile.h"
#include "utils/memutils.h"
}

#include <utility>

namespace pgbraid::flow {

namespace {

// Subjects and headers are UTF-8.
std::string to_database_encoding(const std::string &text)
{
	const char *converted = pg::call([&] { return pg_any_to_server(text.data(), (int) text.size(), PG_UTF8); });
	return converted == text.data() ? text : converted;
}

} // namespace

void DeadLetters::forget_beyond(const core::History &history, core::Position stored)
{
	if (stored.lsn == 0) // nothing is known
		return;
	core::Bytes ids;
	core::append_id_of_history(ids, history);
	catalog::forget_dead_letters(flow_, std::string(ids.view()), stored);
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

void DeadLetters::save(Letter &letter)
{
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
}

void DeadLetters::save_some()
{
	constexpr size_t most_bytes = 8 << 20;
	if (file_ != nullptr && !std::exchange(is_reading_, true))
		pg::call([&] { (void) BufFileSeek(file_, 0, 0, SEEK_SET); });
	for (size_t bytes = 0; !letters_.empty() && bytes < most_bytes; letters_.pop_front()) {
		save(letters_.front());
		bytes += letters_.front().size;
	}
	if (!letters_.empty())
		return;
	if (file_ != nullptr)
		pg::call([&] { BufFileClose(std::exchange(file_, nullptr)); });
	is_reading_ = false;
	bytes_ = 0;
}

} // namespace pgbraid::flow
