#include "core/job/offer_book.h"

#include <gtest/gtest.h>

namespace pgbraid::core {
namespace {

using Jobs = std::vector<std::int64_t>;
constexpr OfferBook::Moment second = 1'000'000, patience = 2 * second;

TEST(OfferBook, AnOfferLastsAsLongAsThePatienceOfItsJob)
{
	OfferBook book;
	book.add(1, 7, 0, patience);
	EXPECT_EQ(book.next(), patience);
	book.lapse(patience - 1);
	EXPECT_TRUE(book.has(1));
	book.lapse(patience);
	EXPECT_FALSE(book.has(1));
	EXPECT_EQ(book.next(), std::nullopt);
}

TEST(OfferBook, AJobThatNobodyListensToIsQuietUntilARunIsPicked)
{
	OfferBook book;
	book.add(1, 7, 0, patience);
	book.add(2, 7, 0, patience);
	book.lapse(patience);
	EXPECT_EQ(book.quiet_jobs(), Jobs{7});
	EXPECT_EQ(book.idle_quiet(), Jobs{7});
	book.add(1, 7, patience, patience);
	EXPECT_EQ(book.quiet_jobs(), Jobs{7});
	EXPECT_EQ(book.idle_quiet(), Jobs{});
	book.picked(1, 7, patience + 1);
	EXPECT_EQ(book.quiet_jobs(), Jobs{});
	EXPECT_EQ(book.size(), 0u);
}

TEST(OfferBook, TheOfferOfOneWorkerThatHangsDoesNotMakeTheOthersWait)
{
	OfferBook book;
	book.add(1, 7, 0, patience);
	book.add(2, 7, 0, patience);
	book.picked(2, 7, second);
	book.lapse(patience);
	EXPECT_EQ(book.size(), 0u);
	EXPECT_EQ(book.quiet_jobs(), Jobs{});
}

TEST(OfferBook, OffersOfAQuietJobAreRepeatedEverMoreRarely)
{
	OfferBook book;
	OfferBook::Moment now = 0;
	std::vector<OfferBook::Moment> waits;
	for (int i = 0; i < 7; i++) {
		book.add(1, 7, now, patience);
		waits.push_back((*book.next() - now) / second);
		now = *book.next();
		book.lapse(now);
	}
	EXPECT_EQ(waits, (std::vector<OfferBook::Moment>{2, 2, 4, 8, 10, 10, 10}));
}

TEST(OfferBook, APatienceLongerThanTheLongestStaysAsItIs)
{
	OfferBook book;
	OfferBook::Moment now = 0;
	for (int i = 0; i < 4; i++) {
		book.add(1, 7, now, 60 * second);
		EXPECT_EQ(*book.next(), now + 60 * second);
		now = *book.next();
		book.lapse(now);
	}
}

TEST(OfferBook, ARunThatEndsWakesAQuietJobSinceItsWorkerIsFree)
{
	OfferBook book;
	book.add(1, 7, 0, patience);
	book.lapse(patience);
	book.saw_life(7, patience + 1);
	EXPECT_EQ(book.quiet_jobs(), Jobs{});
}

TEST(OfferBook, OneQuietJobLeavesOthersAlone)
{
	OfferBook book;
	book.add(1, 7, 0, patience);
	book.add(2, 8, 0, patience);
	book.picked(2, 8, second);
	book.lapse(patience);
	EXPECT_EQ(book.quiet_jobs(), Jobs{7});
	book.add(1, 7, patience, patience);
	book.add(3, 8, patience, patience);
	EXPECT_EQ(book.size(), 2u);
	EXPECT_EQ(book.lively_size(), 1u);
}

TEST(OfferBook, WhatIsForgottenBeginsAnew)
{
	OfferBook book;
	book.add(1, 7, 0, patience);
	book.lapse(patience);
	book.add(1, 7, patience, patience);
	book.forget(7);
	EXPECT_EQ(book.size(), 0u);
	EXPECT_EQ(book.quiet_jobs(), Jobs{});
}

} // namespace
} // namespace pgbraid::core
