// /debug/connections, /debug/tasks and labels=, as a client gets them.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "exporters/http/table_page.h"
#include "heldby/connection.h"
#include "heldby/http.h"
#include "heldby/task.h"

namespace heldby {
namespace {

Response Ask(std::string target, std::string method = "GET", std::string accept = "*/*") {
  Request request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.headers = {{"Accept", std::move(accept)}};
  return Handle(request);
}

std::string Header(const Response& response, std::string_view wanted) {
  for (const auto& [name, value] : response.headers) {
    if (name == wanted) return value;
  }
  return "(none)";
}

bool Has(const Response& response, std::string_view text) {
  return response.body.find(text) != std::string::npos;
}

TEST(HolderPages, AreTextForCurlHtmlForABrowserAndJsonOnRequest) {
  Connection connection(-1, Direction::kInbound);
  connection.SetState("reading request");
  for (const std::string path : {"/debug/connections", "/debug/tasks"}) {
    const Response text = Ask(path);
    EXPECT_EQ(text.status, 200);
    EXPECT_EQ(Header(text, "Content-Type"), "text/plain; charset=utf-8");
    EXPECT_TRUE(Has(text, "held_bytes"));
    const Response html = Ask(path, "GET", "text/html,application/xhtml+xml;q=0.9");
    EXPECT_EQ(Header(html, "Content-Type"), "text/html; charset=utf-8");
    EXPECT_TRUE(Has(html, "<th class=\"n\">held_bytes</th>"));
    const Response json = Ask(path + "?format=json", "GET", "text/html");
    EXPECT_EQ(Header(json, "Content-Type"), "application/json");
    EXPECT_TRUE(
        Has(json, path == "/debug/tasks" ? "{\"tasks_total\": " : "{\"connections_total\": "));
  }
  EXPECT_TRUE(Has(Ask("/debug/connections"), "reading request"));
}

TEST(HolderPages, WhatTheProgramSaysCannotBreakOutOfThePage) {
  const Task task("<script>alert(\"x\")</script>\n\x1b[31m\xff&'\\");
  const Response html = Ask("/debug/tasks?format=html");
  EXPECT_FALSE(Has(html, "<script>"));
  EXPECT_TRUE(Has(html, "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;"));
  const Response text = Ask("/debug/tasks?format=text");
  EXPECT_FALSE(Has(text, "\x1b"));
  EXPECT_TRUE(Has(text, "</script>??[31m"));
  const Response json = Ask("/debug/tasks?format=json");
  EXPECT_TRUE(Has(json, "<script>alert(\\\"x\\\")</script>\\u000a\\u001b[31m"));
  EXPECT_TRUE(Has(json, "&'\\\\"));
  EXPECT_FALSE(Has(json, "\xff")) << "JSON is UTF-8";
}

TEST(HolderPages, ShowTheFirstRowsAndCountTheRest) {
  std::vector<std::unique_ptr<Connection>> connections;
  for (int i = 0; i < 250; ++i) {
    connections.push_back(std::make_unique<Connection>(-1, Direction::kInbound));
  }
  EXPECT_TRUE(Has(Ask("/debug/connections"), "\n50 more; limit=N shows N rows\n"));
  const Response few = Ask("/debug/connections?format=json&limit=3");
  EXPECT_TRUE(Has(few, "{\"connections_total\": 250, "));
  std::size_t rows = 0;
  for (std::size_t at = 0; (at = few.body.find("\"peer\":", at)) != std::string::npos; ++at) {
    ++rows;
  }
  EXPECT_EQ(rows, 3u);
  EXPECT_FALSE(Has(Ask("/debug/connections?limit=1000"), " more"));
}

TEST(HolderPages, OneLongTextMakesNoOtherRowLong) {
  http::TablePage page;
  page.columns = {{"name"}, {"count", true}};
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(AddRow(&page, {std::string("short"), std::int64_t{i}}));
  }
  const std::size_t before = Render(page, http::PageFormat::kText).body.size();
  ASSERT_TRUE(AddRow(&page, {std::string(100'000, 'l'), std::int64_t{1}}));
  const Response response = Render(page, http::PageFormat::kText);
  EXPECT_LE(response.body.size(), before + (4 << 20) + 100'100);
  EXPECT_TRUE(Has(response, "llll      1\n")) << "and it is shown in full";
}

TEST(HolderPages, HaveABoundOfBytesAndCountWhatIsBeyond) {
  http::TablePage page;
  page.rows_are = "tasks";
  page.columns = {{"name"}};
  page.rows_total = 100;
  while (AddRow(&page, {std::string(1 << 20, 'n')})) ASSERT_LE(page.rows.size(), 64u);
  EXPECT_EQ(page.rows.size(), 64u);
  EXPECT_FALSE(AddRow(&page, {std::string("short")})) << "what is shown has no holes";
  EXPECT_TRUE(Render(page, http::PageFormat::kText)
                  .body.ends_with("\n36 more: a page has at most 67108864 bytes\n"));
}

TEST(HolderPages, RefuseWhatTheyDoNotKnowAndNameIt) {
  for (const auto& [target, line] : std::vector<std::pair<std::string, std::string>>{
           {"/debug/connections?limit=0", "limit is \"0\"; accepted: 1 to 100000\n"},
           {"/debug/tasks?limit=x", "limit is \"x\"; accepted: 1 to 100000\n"},
           {"/debug/tasks?limit=100001", "limit is \"100001\"; accepted: 1 to 100000\n"},
           {"/debug/tasks?format=xml", "format is \"xml\"; accepted: html, text, json\n"},
           {"/debug/pprof/heap?labels=conection",
            "labels has \"conection\"; accepted: connection, task, state, age, or all\n"},
           {"/debug/pprof/heap?labels=task,,age",
            "labels has \"\"; accepted: connection, task, state, age, or all\n"}}) {
    const Response response = Ask(target);
    EXPECT_EQ(response.status, 400) << target;
    EXPECT_EQ(response.body, line) << target;
  }
  EXPECT_EQ(Ask("/debug/pprof/heap?labels=all").status, 200);
  EXPECT_EQ(Ask("/debug/pprof/heap?labels=connection,task,state,age").status, 200);
}

TEST(HolderPages, AnswerGetAndHeadAndNothingElse) {
  for (const char* path : {"/debug/connections", "/debug/tasks"}) {
    const Response head = Ask(path, "HEAD");
    EXPECT_EQ(head.status, 200);
    const Response post = Ask(path, "POST");
    EXPECT_EQ(post.status, 405);
    EXPECT_EQ(Header(post, "Allow"), "GET, HEAD");
    EXPECT_EQ(Ask(std::string(path) + "/").status, 404);
  }
}

TEST(HolderPages, NameTheFunctionThatOpenedAConnection) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const Connection connection(ends[0], Direction::kInbound);
  const Response page = Ask("/debug/connections");
  EXPECT_TRUE(Has(page, "NameTheFunctionThatOpenedAConnection")) << page.body;
  EXPECT_TRUE(Has(page, " unix "));
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace heldby
