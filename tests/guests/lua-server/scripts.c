/* See scripts.h. */
#include "scripts.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

enum { MAX_SCRIPTS = 256, MAX_PATH = 1024, STEP_INSTRUCTIONS = 100 };

static size_t used_bytes;
/* Where `print` writes; none while the server starts. */
static struct buffer *printing;
static size_t printed_from;

/* Lua's memory, up to its limit: then a chunk has an error, and the server goes on. */
static void *allocate(void *context, void *block, size_t old_size, size_t new_size)
{
    (void)context;
    size_t old = block == NULL ? 0 : old_size;
    if (new_size == 0) {
        free(block);
        used_bytes -= old;
        return NULL;
    }
    if (new_size > old && new_size - old > MAX_LUA_BYTES - used_bytes)
        return NULL;
    void *moved = realloc(block, new_size);
    if (moved != NULL)
        used_bytes = used_bytes - old + new_size;
    return moved;
}

/* What the chunk has executed, in all of its coroutines; what is less than a step in one is not counted. */
static unsigned executed;

/* Called after each step of a thread. Once the limit is reached, every instruction fails: nothing catches that for long. */
static void count(lua_State *lua, lua_Debug *where)
{
    (void)where;
    if (executed < MAX_INSTRUCTIONS)
        executed += STEP_INSTRUCTIONS;
    if (executed < MAX_INSTRUCTIONS) {
        /* A coroutine of an earlier chunk that took too long. */
        if (lua_gethookcount(lua) != STEP_INSTRUCTIONS)
            lua_sethook(lua, count, LUA_MASKCOUNT, STEP_INSTRUCTIONS);
        return;
    }
    lua_sethook(lua, count, LUA_MASKCOUNT, 1);
    lua_pushliteral(lua, "the chunk takes too long");
    lua_error(lua);
}

static void add_line(struct buffer *answer, const char *text, size_t len)
{
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t plain = end == NULL ? len : (size_t)(end - text);
        buffer_add(answer, text, plain);
        if (end == NULL)
            return;
        buffer_add(answer, "\\n", 2);
        text += plain + 1;
        len -= plain + 1;
    }
}

/* The values from `first` on as text, separated by tabs, on the top of the stack. */
static void join(lua_State *lua, int first)
{
    int last = lua_gettop(lua);
    luaL_Buffer joined;
    luaL_buffinit(lua, &joined);
    for (int at = first; at <= last; at++) {
        if (at > first)
            luaL_addchar(&joined, '\t');
        luaL_tolstring(lua, at, NULL);
        luaL_addvalue(&joined);
    }
    luaL_pushresult(&joined);
}

static int print(lua_State *lua)
{
    size_t len;
    join(lua, 1);
    const char *text = lua_tolstring(lua, -1, &len);
    if (printing == NULL) {
        printf("%s\n", text);
        return 0;
    }
    if (printing->len - printed_from + len > MAX_ANSWER_BYTES)
        return luaL_error(lua, "more than 1 MiB is printed");
    buffer_add(printing, "> ", 2);
    add_line(printing, text, len);
    buffer_add(printing, "\n", 1);
    return 0;
}

static int now(lua_State *lua)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    lua_pushnumber(lua, (lua_Number)time.tv_sec + (lua_Number)time.tv_nsec / 1e9);
    return 1;
}

/* `setmetatable` without finalizers: no hook stops one. */
static int set_metatable(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    if (lua_type(lua, 2) == LUA_TTABLE) {
        lua_pushliteral(lua, "__gc");
        if (lua_rawget(lua, 2) != LUA_TNIL) {
            lua_pushliteral(lua, "there are no finalizers");
            return lua_error(lua);
        }
        lua_pop(lua, 1);
    }
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, 1);
    return 1;
}

static lua_State *state;

/* The libraries that need no machine: no files, no processes, no modules from files. */
static void open_libraries(lua_State *lua)
{
    static const luaL_Reg libraries[] = {
        {LUA_GNAME, luaopen_base},       {LUA_TABLIBNAME, luaopen_table}, {LUA_STRLIBNAME, luaopen_string},
        {LUA_MATHLIBNAME, luaopen_math}, {LUA_UTF8LIBNAME, luaopen_utf8}, {LUA_COLIBNAME, luaopen_coroutine},
    };
    static const char *const missing[] = {"dofile", "loadfile", "collectgarbage"};
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        luaL_requiref(lua, libraries[i].name, libraries[i].func, 1);
        lua_pop(lua, 1);
    }
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
        lua_pushnil(lua);
        lua_setglobal(lua, missing[i]);
    }
    lua_getglobal(lua, "setmetatable");
    lua_pushcclosure(lua, set_metatable, 1);
    lua_setglobal(lua, "setmetatable");
    lua_register(lua, "print", print);
    lua_register(lua, "now", now);
}

static int is_script(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 4 && strcmp(entry->d_name + len - 4, ".lua") == 0;
}

static int by_name(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

/* Begins to count. Coroutines count from their beginning, as they take the hook of what makes them. */
static void begin_count(void)
{
    executed = 0;
    lua_sethook(state, count, LUA_MASKCOUNT, STEP_INSTRUCTIONS);
}

static void run_file(const char *path)
{
    begin_count();
    if (luaL_loadfilex(state, path, "t") != LUA_OK || lua_pcall(state, 0, 0, 0) != LUA_OK) {
        fprintf(stderr, "lua-server: %s\n", lua_tostring(state, -1));
        exit(1);
    }
}

void scripts_start(const char *folder)
{
    static char *names[MAX_SCRIPTS];
    size_t count = 0;
    DIR *opened;
    state = lua_newstate(allocate, NULL);
    if (state == NULL) {
        fprintf(stderr, "lua-server: no memory\n");
        exit(1);
    }
    open_libraries(state);
    opened = opendir(folder);
    for (struct dirent *entry; opened != NULL && count < MAX_SCRIPTS && (entry = readdir(opened)) != NULL;) {
        if (is_script(entry))
            names[count++] = strdup(entry->d_name);
    }
    if (opened != NULL)
        closedir(opened);
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        char path[MAX_PATH];
        if (names[i] == NULL || snprintf(path, sizeof path, "%s/%s", folder, names[i]) >= MAX_PATH) {
            fprintf(stderr, "lua-server: a script's name is too long\n");
            exit(1);
        }
        run_file(path);
        free(names[i]);
    }
}

/* Compiles a chunk, as an expression if it is one. LUA_OK, or the error's kind with its words on the stack. */
static int compile(lua_State *lua, const char *chunk, size_t len)
{
    luaL_Buffer expression;
    luaL_buffinit(lua, &expression);
    luaL_addstring(&expression, "return ");
    luaL_addlstring(&expression, chunk, len);
    luaL_pushresult(&expression);
    size_t expression_len;
    const char *text = lua_tolstring(lua, -1, &expression_len);
    if (luaL_loadbufferx(lua, text, expression_len, "=chunk", "t") == LUA_OK)
        return LUA_OK;
    lua_pop(lua, 1);
    return luaL_loadbufferx(lua, chunk, len, "=chunk", "t");
}

/* Whether a syntax error is that the text ends too early. */
static bool goes_on(const char *message)
{
    static const char end[] = "near <eof>";
    size_t len = strlen(message);
    return len >= sizeof end - 1 && strcmp(message + len - (sizeof end - 1), end) == 0;
}

/* A chunk that is to be run. */
struct request {
    const char *chunk;
    size_t len;
    /* It ends too early. */
    bool goes_on;
};

/* Everything about a chunk that may fail: its compilation, its run, and the text of its results, which is the result. */
static int run(lua_State *lua)
{
    struct request *request = lua_touserdata(lua, 1);
    int code = compile(lua, request->chunk, request->len), first;
    if (code == LUA_ERRSYNTAX && goes_on(lua_tostring(lua, -1))) {
        request->goes_on = true;
        return 0;
    }
    if (code != LUA_OK)
        return lua_error(lua);
    first = lua_gettop(lua);
    lua_call(lua, 0, LUA_MULTRET);
    join(lua, first);
    return 1;
}

/* The text of an error, which may be any value. */
static int words(lua_State *lua)
{
    luaL_tolstring(lua, 1, NULL);
    return 1;
}

bool scripts_run(const char *chunk, size_t len, struct buffer *answer)
{
    struct request request = {chunk, len, false};
    size_t result_len;
    const char *result;
    int code;
    lua_settop(state, 0);
    printing = answer;
    printed_from = answer->len;
    begin_count();
    lua_pushcfunction(state, run);
    lua_pushlightuserdata(state, &request);
    code = lua_pcall(state, 1, 1, 0);
    if (code != LUA_OK) {
        lua_pushcfunction(state, words);
        lua_insert(state, 1);
        /* An error of the text of an error is told in its place. */
        lua_pcall(state, 1, 1, 0);
    }
    printing = NULL;
    if (request.goes_on)
        return false;
    if (lua_type(state, -1) == LUA_TSTRING) {
        result = lua_tolstring(state, -1, &result_len);
    } else {
        result = "the error has no words";
        result_len = strlen(result);
    }
    if (result_len > MAX_ANSWER_BYTES) {
        result = "the results are larger than 1 MiB";
        result_len = strlen(result);
        code = LUA_ERRRUN;
    }
    buffer_add(answer, code == LUA_OK ? "= " : "! ", 2);
    add_line(answer, result, result_len);
    buffer_add(answer, "\n", 1);
    lua_settop(state, 0);
    return true;
}
