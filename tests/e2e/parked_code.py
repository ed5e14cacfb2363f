"""Writes C++ for parked_chain.cc: functions of every shape that a compiler lays out differently on the stack, each
calling down into another one."""

import random

SHAPES = {
    "plain": """
[[gnu::noinline]] long Plain{n}(long depth, Chain& chain) {{
  volatile char kept[{size}];
  kept[0] = static_cast<char>(depth);
  return {down} + kept[0];
}}
ENTER({n}) {{ return Plain{n}(depth, chain) + 1; }}""",
    "early": """
[[gnu::noinline]] long Early{n}(long depth, Chain& chain) {{
  if (chain.seed == {n}) return depth;
  long sum = 0;
  for (long i = 0; i < 1 + (depth & 1); ++i) sum += i == 0 ? {down} : chain.Pick();
  return sum;
}}
ENTER({n}) {{ return Early{n}(depth, chain) ^ depth; }}""",
    "many": """
[[gnu::noinline]] long Many{n}(long a, long b, long c, long d, long e, long f, long g, long h, long i, Chain& chain) {{
  return {down_a} + b + c * d + e * f + g * h + i;
}}
ENTER({n}) {{
  const long x = chain.Pick();
  return Many{n}(depth, x, x + 1, x * 3, 4, x & 7, 6, x >> 3, depth + x, chain) + x;
}}""",
    "nested": """
[[gnu::noinline]] long Sum{n}(long a, long b, long c, long d, long e, long f, long g, long h, Chain& chain) {{
  return a + b + c + d + e + f + g + h + chain.Pick();
}}
ENTER({n}) {{
  const long x = chain.Pick();
  return Sum{n}(1, 2, x, 4, 5, x, x > 0 ? {down} : 3, x, chain) + Sum{n}(1, 2, 3, 4, 5, 6, 7, x, chain);
}}""",
    "by_value": """
struct Block{n} {{ long words[{words}]; }};
[[gnu::noinline]] long ByValue{n}(Block{n} block, long depth, Chain& chain) {{
  return {down} + block.words[depth % {words}];
}}
ENTER({n}) {{
  Block{n} block{{}};
  block.words[0] = chain.Pick();
  const long first = ByValue{n}(block, depth, chain);
  return first + block.words[0];
}}""",
    "variable": """
[[gnu::noinline]] long Variable{n}(Chain* chain, int count, ...) {{
  va_list list;
  va_start(list, count);
  const long depth = va_arg(list, long);
  const double factor = va_arg(list, double);
  va_end(list);
  return DownCall(depth, *chain) + static_cast<long>(factor * 2);
}}
ENTER({n}) {{ return Variable{n}(&chain, 2, depth, 1.5) + 1; }}""",
    "alloca": """
ENTER({n}) {{
  const auto size = static_cast<std::size_t>(16 + chain.Pick() % 300);
  auto* bytes = static_cast<volatile char*>(__builtin_alloca(size));
  bytes[0] = 1;
  return {down} + bytes[0];
}}""",
    "aligned": """
ENTER({n}) {{
  alignas({align}) volatile char kept[{align} * 2];
  kept[1] = static_cast<char>(reinterpret_cast<std::uintptr_t>(&kept) & 15);
  Use(const_cast<char*>(kept));
  return {down} + kept[1];
}}""",
    "tail": """
ENTER({n}) {{
  chain.seed += {n};
  return {enter}(depth - 1, chain);
}}""",
    "switched": """
ENTER({n}) {{
  const long x = chain.Pick();
  switch (x % 7) {{
    case 0: return {down} + 1;
    case 1: Use(nullptr); return {down} * 2;
    case 2: {{ volatile long kept[{words}]; kept[0] = x; return {down} + kept[0]; }}
    case 3: return {enter}(depth - 1, chain);
    case 4: return DownCall(depth, chain) - x;
    case 5: return x > 100 ? {down} : DownCall(depth, chain) + 5;
    default: return {down};
  }}
}}""",
    "caught": """
ENTER({n}) {{
  try {{
    if (chain.Pick() >= 0) throw Thrown{{depth}};
    return {down};
  }} catch (const Thrown& thrown) {{
    return {down} + thrown.value;
  }}
}}""",
    "destroyed": """
struct Calls{n} {{
  long depth;
  Chain& chain;
  long* sum;
  ~Calls{n}() {{ *sum += DownCall(depth, chain); }}
}};
ENTER({n}) {{
  long sum = 0;
  try {{
    const Calls{n} calls{{depth, chain, &sum}};
    volatile char kept[{size}];
    kept[0] = 1;
    if (chain.Pick() % 2 == 0) throw Thrown{{depth + kept[0]}};
  }} catch (const Thrown& thrown) {{
    sum += thrown.value;
  }}
  return sum;
}}""",
    "virtual": """
struct Base{n} {{ virtual ~Base{n}() = default; virtual long Call(long, Chain&) const = 0; }};
struct Other{n} {{ virtual ~Other{n}() = default; virtual long Call(long, Chain&) const = 0; long filler = 1; }};
struct Both{n} final : Base{n}, Other{n} {{
  [[gnu::noinline]] long Call(long depth, Chain& chain) const override {{ return {down} + filler; }}
}};
const Both{n} both{n};
ENTER({n}) {{
  const Base{n}* volatile base = &both{n};
  const Other{n}* volatile other = &both{n};
  return chain.Pick() % 2 == 0 ? base->Call(depth, chain) + 1 : other->Call(depth, chain) * 3;
}}""",
    "lambda": """
ENTER({n}) {{
  const std::function<long(long)> call = [&chain, x = chain.Pick()](long depth) {{ return {down} + x; }};
  return call(depth) + 2;
}}""",
    "sorted": """
ENTER({n}) {{
  long numbers[3] = {{3, 1, depth}};
  sorting = &chain;
  sorting_depth = depth;
  std::qsort(numbers, 3, sizeof(long), [](const void* a, const void* b) {{
    Chain* mine = sorting;
    sorting = nullptr;
    if (mine != nullptr) DownCall(sorting_depth, *mine);
    return static_cast<int>(*static_cast<const long*>(a) - *static_cast<const long*>(b));
  }});
  return numbers[0];
}}""",
    "busy": """
[[gnu::noinline]] long Busy{n}(long depth, Chain& chain) {{
  long a = chain.Pick(), b = a * 3, c = b ^ 5, d = c + a, e = d * 7, f = e - b;
  for (int i = 0; i < 3; ++i) {{
    if (i == 1) a += {down};
    b += a * c; c ^= d; d += e; e -= f; f *= 3;
    if ((b & 1) != 0) Use(nullptr);
  }}
  return a + b + c + d + e + f;
}}
ENTER({n}) {{ return Busy{n}(depth, chain) + 1; }}""",
}

HEAD = """
#define ENTER(n) [[gnu::noinline]] long Enter##n([[maybe_unused]] long depth, [[maybe_unused]] Chain& chain)
struct Thrown { long value; };
thread_local Chain* sorting;
thread_local long sorting_depth;
"""


def write(path, seed, functions=150):
    """`functions` of them, the same for the same seed."""
    # S311: reproducible, not secret
    rng = random.Random(seed)
    names = list(SHAPES)
    text = [HEAD]
    text += [f"long Enter{n}(long, Chain&);" for n in range(functions)]
    text.append("long (*const kEnter[])(long, Chain&) = {" + ", ".join(f"Enter{n}" for n in range(functions)) + "};")
    for n in range(functions):
        enter = f"Enter{rng.randrange(functions)}"
        down = rng.choice(["DownCall(depth, chain)", "DownInline(depth, chain)", "chain.Down(depth)",
                           f"(depth > 0 ? {enter}(depth - 1, chain) : Rest(chain))"])
        # A tail call does not look at the depth: what it leads to must.
        text.append(SHAPES[names[n % len(names)]].format(
            n=n, enter="DownCall" if rng.random() < 0.5 else "DownThere", down=down, down_a=down.replace("depth", "a"),
            size=rng.choice([1, 24, 40, 200, 1000, 5000, 70000]), words=rng.choice([3, 5, 9, 40]),
            align=rng.choice([32, 64])))
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(text) + "\n")
