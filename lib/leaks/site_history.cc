#include "leaks/site_history.h"

#include <algorithm>
#include <utility>

namespace heldby::leaks {
namespace {

void PutNumber(std::uint64_t number, std::string* to) {
  for (; number >= 0x80; number >>= 7) to->push_back(static_cast<char>(number | 0x80));
  to->push_back(static_cast<char>(number));
}

std::uint64_t TakeNumber(const char** from) {
  std::uint64_t number = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(*(*from)++);
    number |= std::uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return number;
  }
}

class Writer {
 public:
  void Put(const SiteTotals& difference) {
    PutNumber(difference.site - before_, &bytes_);
    PutNumber(difference.allocated_bytes, &bytes_);
    PutNumber(difference.freed_bytes, &bytes_);
    PutNumber(difference.allocated_objects, &bytes_);
    PutNumber(difference.freed_objects, &bytes_);
    before_ = difference.site;
  }
  std::string Take() && {
    bytes_.shrink_to_fit();
    return std::move(bytes_);
  }

 private:
  std::string bytes_{};
  std::uint32_t before_ = 0;
};

class Reader {
 public:
  explicit Reader(const std::string& bytes)
      : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool Next(SiteTotals* difference) {
    if (at_ == end_) return false;
    difference->site = before_ += static_cast<std::uint32_t>(TakeNumber(&at_));
    difference->allocated_bytes = TakeNumber(&at_);
    difference->freed_bytes = TakeNumber(&at_);
    difference->allocated_objects = TakeNumber(&at_);
    difference->freed_objects = TakeNumber(&at_);
    return true;
  }

 private:
  const char* at_;
  const char* end_;
  std::uint32_t before_ = 0;
};

void AddTo(SiteTotals* sum, const SiteTotals& difference) {
  sum->allocated_bytes += difference.allocated_bytes;
  sum->freed_bytes += difference.freed_bytes;
  sum->allocated_objects += difference.allocated_objects;
  sum->freed_objects += difference.freed_objects;
}

// One difference for both, the earlier one first.
std::string Joined(const std::string& first, const std::string& second) {
  Reader a(first);
  Reader b(second);
  Writer writer;
  SiteTotals from_a;
  SiteTotals from_b;
  bool has_a = a.Next(&from_a);
  bool has_b = b.Next(&from_b);
  while (has_a || has_b) {
    if (has_a && has_b && from_a.site == from_b.site) {
      AddTo(&from_a, from_b);
      has_b = b.Next(&from_b);
      continue;
    }
    if (!has_b || (has_a && from_a.site < from_b.site)) {
      writer.Put(from_a);
      has_a = a.Next(&from_a);
    } else {
      writer.Put(from_b);
      has_b = b.Next(&from_b);
    }
  }
  return std::move(writer).Take();
}

// The core reads the four totals one after the other while they grow: bytes may be a sample
// ahead of objects, and a later reading is never behind an earlier one in any of them.
std::uint64_t Growth(std::uint64_t now, std::uint64_t before) {
  return now > before ? now - before : 0;
}

}  // namespace

void SiteHistory::Add(std::int64_t now_ns, std::span<const SiteTotals> sites,
                      const Load& load) {
  Writer writer;
  std::vector<SiteTotals> all;
  all.reserve(std::max(sites.size(), last_.size()));
  auto known = last_.begin();
  for (const SiteTotals& site : sites) {
    while (known != last_.end() && known->site < site.site) all.push_back(*known++);
    SiteTotals before{.site = site.site};
    if (known != last_.end() && known->site == site.site) before = *known++;
    const SiteTotals grown = {
        .site = site.site,
        .allocated_bytes = Growth(site.allocated_bytes, before.allocated_bytes),
        .freed_bytes = Growth(site.freed_bytes, before.freed_bytes),
        .allocated_objects = Growth(site.allocated_objects, before.allocated_objects),
        .freed_objects = Growth(site.freed_objects, before.freed_objects)};
    if (grown != SiteTotals{.site = site.site}) writer.Put(grown);
    AddTo(&before, grown);
    all.push_back(before);
  }
  all.insert(all.end(), known, last_.end());
  std::string delta = std::move(writer).Take();
  // All that may fail for want of memory comes first: a snapshot is there whole or not at all.
  deltas_.reserve(deltas_.size() + 1);
  loads_.reserve(loads_.size() + 1);
  times_ns_.push_back(now_ns);
  loads_.push_back(load);
  deltas_.push_back(std::move(delta));
  last_ = std::move(all);
  delta_bytes_ += deltas_.back().capacity();
  while (const auto one = OneTooMany(times_ns_, bands_, now_ns)) Remove(*one);
  while (used_bytes() > budget_bytes_ && times_ns_.size() > 2) {
    Remove(LeastMissed(times_ns_, now_ns));
    ++thinned_total_;
  }
}

void SiteHistory::Remove(std::size_t snapshot) {
  std::string joined = Joined(deltas_[snapshot], deltas_[snapshot + 1]);
  delta_bytes_ -= deltas_[snapshot].capacity() + deltas_[snapshot + 1].capacity();
  delta_bytes_ += joined.capacity();
  deltas_[snapshot + 1] = std::move(joined);
  const auto offset = static_cast<std::ptrdiff_t>(snapshot);
  deltas_.erase(deltas_.begin() + offset);
  times_ns_.erase(times_ns_.begin() + offset);
  loads_.erase(loads_.begin() + offset);
}

std::vector<SiteTotals> SiteHistory::At(std::size_t snapshot) const {
  std::vector<SiteTotals> totals = Nothing();
  for (std::size_t i = 0; i <= snapshot; ++i) AddAll(i, &totals, [](const SiteTotals&) {});
  std::erase_if(totals,
                [](const SiteTotals& site) { return site == SiteTotals{.site = site.site}; });
  return totals;
}

void SiteHistory::Visit(
    const std::function<void(std::size_t snapshot, const SiteTotals& totals)>& visit) const {
  std::vector<SiteTotals> totals = Nothing();
  for (std::size_t i = 0; i < deltas_.size(); ++i) {
    AddAll(i, &totals, [&](const SiteTotals& site) { visit(i, site); });
  }
}

std::vector<SiteTotals> SiteHistory::Nothing() const {
  std::vector<SiteTotals> totals(last_.size());
  for (std::size_t i = 0; i < last_.size(); ++i) totals[i].site = last_[i].site;
  return totals;
}

template <typename Visitor>
void SiteHistory::AddAll(std::size_t snapshot, std::vector<SiteTotals>* totals,
                         const Visitor& visit) const {
  Reader reader(deltas_[snapshot]);
  auto at = totals->begin();
  for (SiteTotals difference; reader.Next(&difference);) {
    at = std::lower_bound(
        at, totals->end(), difference.site,
        [](const SiteTotals& site, std::uint32_t id) { return site.site < id; });
    AddTo(&*at, difference);
    visit(*at);
  }
}

std::size_t SiteHistory::used_bytes() const {
  return delta_bytes_ + last_.capacity() * sizeof(SiteTotals) +
         times_ns_.capacity() * sizeof(std::int64_t) + loads_.capacity() * sizeof(Load) +
         deltas_.capacity() * sizeof(std::string);
}

}  // namespace heldby::leaks
