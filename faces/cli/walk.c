/*
 * walk.c - the files under a path, in a fixed order, less what .gitignore excludes
 *
 * Follows gitignore(5): the last matching rule decides, those of a deeper folder after those
 * above; a rule with a slash inside or in front is bound to its folder, one without matches at any
 * depth; a slash at the end means folders; ** stands for any number of folders. What is in an
 * excluded folder cannot be included again, because the walk does not go there.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------------------- */
/*  Patterns                                                                 */
/* ------------------------------------------------------------------------- */

/*
 * Matches one character against the class after '['; *pattern moves behind the ']'. An unclosed
 * class matches nothing.
 */
static bool
match_class(const char **pattern, char c)
{
    const char *at = *pattern;
    const bool negated = *at == '!' || *at == '^';
    bool found = false;

    at += negated;
    for (const char *first = at; *at != '\0' && (*at != ']' || at == first); at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        const unsigned char low = (unsigned char)*at;
        unsigned char high = low;
        if (at[1] == '-' && at[2] != ']' && at[2] != '\0') {
            at += 2;
            if (*at == '\\' && at[1] != '\0')
                at++;
            high = (unsigned char)*at;
        }
        found = found || ((unsigned char)c >= low && (unsigned char)c <= high);
    }
    if (*at != ']')
        return false;
    *pattern = at + 1;
    return found != negated && c != '/';
}

/* Matches one pattern element that is no star; moves *pattern behind it. */
static bool
match_one(const char **pattern, char c)
{
    const char p = *(*pattern)++;

    if (p == '?')
        return c != '/' && c != '\0';
    if (p == '[')
        return match_class(pattern, c);
    if (p == '\\' && **pattern != '\0')
        return *(*pattern)++ == c;
    return p == c;
}

/*
 * Whether a whole path matches. After a mismatch the last star takes one more character, and when
 * that is a slash, the last double star does: two places to go back to are enough, since an
 * earlier star cannot help where a later one failed. So no pattern takes exponential time.
 */
static bool
match_pattern(const char *pattern, const char *path)
{
    const char *star = NULL, *star_path = NULL, *stars = NULL, *stars_path = NULL;

    while (*path != '\0') {
        if (pattern[0] == '*' && pattern[1] == '*') {
            pattern += 2;
            if (*pattern == '\0')
                return true;
            if (*pattern == '/') /* any number of folders, none too */
                pattern++;
            stars = pattern;
            stars_path = path;
            star = NULL;
            continue;
        }
        if (*pattern == '*') {
            star = ++pattern;
            star_path = path;
            continue;
        }
        const char *next = pattern;
        if (*pattern != '\0' && match_one(&next, *path)) {
            pattern = next;
            path++;
            continue;
        }
        if (star != NULL && *star_path != '/') {
            path = ++star_path;
            pattern = star;
            continue;
        }
        if (stars == NULL)
            return false;
        /* The next folder, since a double star takes whole ones. */
        stars_path = strchr(stars_path, '/');
        if (stars_path == NULL)
            return false;
        path = ++stars_path;
        pattern = stars;
        star = NULL;
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

/* ------------------------------------------------------------------------- */
/*  Rules                                                                    */
/* ------------------------------------------------------------------------- */

struct rule {
    const char *pattern; /* into the text */
    bool includes;       /* !pattern */
    bool folders;        /* pattern/ */
    bool bound;          /* to this folder: it matches the path, not the name */
};

struct walk_rules {
    const struct walk_rules *above;
    size_t folder; /* length of the folder's path with its slash: what is behind is matched */
    char *text;
    struct rule *rule;
    size_t count;
};

static void
free_rules(struct walk_rules *rules)
{
    free(rules->rule);
    free(rules->text);
}

/* Reads one line, which is terminated; false when it is no rule. */
static bool
read_rule(char *line, struct rule *out)
{
    size_t size = strlen(line);

    if (size > 0 && line[size - 1] == '\r')
        line[--size] = '\0';
    while (size > 0 && line[size - 1] == ' ' && !(size > 1 && line[size - 2] == '\\'))
        line[--size] = '\0';
    *out = (struct rule){.pattern = line};
    if (*line == '#')
        return false;
    if (*line == '!') {
        out->includes = true;
        out->pattern++;
        size--;
    }
    if (size > 0 && out->pattern[size - 1] == '/') {
        out->folders = true;
        line[(size_t)(out->pattern - line) + --size] = '\0';
    }
    out->bound = strchr(out->pattern, '/') != NULL;
    if (*out->pattern == '/')
        out->pattern++;
    return *out->pattern != '\0';
}

/* Takes 'text' (size bytes and a zero, malloc'ed); false when memory ran out. */
static bool
parse_rules(char *text, size_t size, struct walk_rules *out)
{
    size_t lines = 1;

    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    out->text = text;
    out->count = 0;
    out->rule = malloc(lines * sizeof(*out->rule));
    if (out->rule == NULL)
        return false;
    for (char *line = text; line <= text + size;) {
        char *const feed = memchr(line, '\n', (size_t)(text + size - line));
        char *const end = feed != NULL ? feed : text + size;
        *end = '\0';
        out->count += read_rule(line, &out->rule[out->count]);
        line = end + 1;
    }
    return true;
}

/* What these rules alone say: -1 nothing, 0 included, 1 excluded. */
static int
decide(const struct walk_rules *rules, const char *path, bool is_folder)
{
    const char *const slash = strrchr(path, '/');
    const char *const name = slash != NULL ? slash + 1 : path;

    for (size_t i = rules->count; i-- > 0;) {
        const struct rule *const rule = &rules->rule[i];
        if (rule->folders && !is_folder)
            continue;
        if (match_pattern(rule->pattern, rule->bound ? path : name))
            return !rule->includes;
    }
    return -1;
}

static bool
is_excluded(const struct walk_rules *rules, const char *path, bool is_folder)
{
    for (; rules != NULL; rules = rules->above) {
        const int decision = decide(rules, path + rules->folder, is_folder);
        if (decision >= 0)
            return decision == 1;
    }
    return false;
}

int
walk_ignores(const char *rules, size_t size, const char *path, bool is_folder)
{
    struct walk_rules parsed = {0};
    char *const text = malloc(size + 1);

    if (text == NULL)
        return -2;
    memcpy(text, rules, size);
    text[size] = '\0';
    const int decision = parse_rules(text, size, &parsed) ? decide(&parsed, path, is_folder) : -2;
    free_rules(&parsed);
    return decision;
}

/* ------------------------------------------------------------------------- */
/*  Paths                                                                    */
/* ------------------------------------------------------------------------- */

/* A path that grows and shrinks by its last name. */
struct path {
    char *text;
    size_t size, room;
};

/* Appends a name after a slash; false when memory ran out. */
static bool
push_name(struct path *path, const char *name)
{
    const size_t length = strlen(name);

    if (path->size + length + 2 > path->room) {
        const size_t room = 2 * (path->size + length + 2);
        char *const text = realloc(path->text, room);
        if (text == NULL)
            return false;
        path->text = text;
        path->room = room;
    }
    if (path->size > 0 && path->text[path->size - 1] != '/')
        path->text[path->size++] = '/';
    memcpy(path->text + path->size, name, length + 1);
    path->size += length;
    return true;
}

static void
cut_path(struct path *path, size_t size)
{
    path->size = size;
    path->text[size] = '\0';
}

/* The content of a small file, with a zero behind it; NULL when there is none. */
static char *
read_small_file(const char *path, size_t *size)
{
    enum { MOST = 1 << 20 };
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    char *text = NULL;

    if (file < 0)
        return NULL;
    if (fstat(file, &info) == 0 && S_ISREG(info.st_mode) && info.st_size <= MOST)
        text = malloc((size_t)info.st_size + 1);
    const ssize_t got = text != NULL ? read(file, text, (size_t)info.st_size) : -1;
    close(file);
    if (got < 0) {
        free(text);
        return NULL;
    }
    text[got] = '\0';
    *size = (size_t)got;
    return text;
}

/* The rules of the folder that 'path' is; count 0 when it has none. */
static bool
load_rules(struct path *path, const struct walk_rules *above, struct walk_rules *out)
{
    const size_t size = path->size;
    size_t text_size;

    *out = (struct walk_rules){.above = above, .folder = size + (path->text[size - 1] != '/')};
    if (!push_name(path, ".gitignore"))
        return false;
    char *const text = read_small_file(path->text, &text_size);
    cut_path(path, size);
    return text == NULL || parse_rules(text, text_size, out);
}

/* ------------------------------------------------------------------------- */
/*  Walking                                                                  */
/* ------------------------------------------------------------------------- */

struct names {
    char **name;
    size_t count, room;
};

static void
free_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->name[i]);
    free(names->name);
}

static bool
add_name(struct names *names, const char *name)
{
    if (names->count == names->room) {
        const size_t room = names->room > 0 ? 2 * names->room : 16;
        char **const grown = realloc(names->name, room * sizeof(*grown));
        if (grown == NULL)
            return false;
        names->name = grown;
        names->room = room;
    }
    names->name[names->count] = strdup(name);
    return names->name[names->count++] != NULL;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a folder that are not hidden, sorted; errno, or -1 when memory ran out. */
static int
list_folder(const char *path, struct names *out)
{
    DIR *const folder = opendir(path);
    bool fits = true;

    if (folder == NULL)
        return errno == ENOMEM ? -1 : errno;
    errno = 0;
    for (const struct dirent *entry; fits && (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            fits = add_name(out, entry->d_name);
    const int error = errno;
    closedir(folder);
    if (!fits)
        return -1;
    if (out->count > 0)
        qsort(out->name, out->count, sizeof(*out->name), compare_names);
    return error;
}

/* A walk under way. Rules speak of resolved paths, reports of paths as the root was written. */
struct walker {
    const struct walk *walk;
    struct path real, shown;
};

static int visit_folder(struct walker *w, const struct walk_rules *above);

/* "." is not worth showing in front of every path: its path is empty. */
static const char *
shown_path(const struct walker *w)
{
    return w->shown.size > 0 ? w->shown.text : ".";
}

/* What the present path is, below a folder. */
static int
visit_entry(struct walker *w, const struct walk_rules *rules)
{
    const struct walk *const walk = w->walk;
    struct stat info;

    if (lstat(w->real.text, &info) != 0)
        return walk->error(walk->user, w->shown.text, errno);
    const bool is_folder = S_ISDIR(info.st_mode);
    if ((!is_folder && !S_ISREG(info.st_mode)) || is_excluded(rules, w->real.text, is_folder))
        return 0;
    return is_folder ? visit_folder(w, rules)
                     : walk->file(walk->user, w->shown.text, (uint64_t)info.st_size);
}

static int
visit_names(struct walker *w, const struct walk_rules *rules, const struct names *names)
{
    const size_t real = w->real.size, shown = w->shown.size;
    int result = 0;

    for (size_t i = 0; result == 0 && i < names->count; i++) {
        if (!push_name(&w->real, names->name[i]) || !push_name(&w->shown, names->name[i]))
            return -1;
        result = visit_entry(w, rules);
        cut_path(&w->real, real);
        cut_path(&w->shown, shown);
    }
    return result;
}

static int
visit_folder(struct walker *w, const struct walk_rules *above)
{
    struct walk_rules rules = {0};
    struct names names = {0};

    int result = load_rules(&w->real, above, &rules) ? list_folder(w->real.text, &names) : -1;
    if (result > 0)
        result = w->walk->error(w->walk->user, shown_path(w), result);
    if (result == 0)
        result = visit_names(w, rules.count > 0 ? &rules : above, &names);
    free_names(&names);
    free_rules(&rules);
    return result;
}

/* ------------------------------------------------------------------------- */
/*  The folders above                                                        */
/* ------------------------------------------------------------------------- */

static int
has_entry(struct path *path, const char *name)
{
    const size_t size = path->size;
    struct stat info;

    if (!push_name(path, name))
        return -1;
    const int found = stat(path->text, &info) == 0;
    cut_path(path, size);
    return found;
}

/*
 * How many folders above the resolved root belong to its repository: ends[i] receives the length
 * of the path of the one i + 1 steps up. 0 where there is no repository; -1: memory ran out.
 */
static int
folders_above(const struct walker *w, size_t ends[PATH_MAX / 2])
{
    struct path path = {0};
    int depth = 0;

    if (!push_name(&path, w->real.text))
        return -1;
    int top = has_entry(&path, ".git");
    while (top == 0) {
        const char *const slash = strrchr(path.text, '/');
        if (path.size <= 1 || slash == NULL)
            break;
        cut_path(&path, slash == path.text ? 1 : (size_t)(slash - path.text));
        ends[depth++] = path.size;
        top = has_entry(&path, ".git");
    }
    free(path.text);
    return top == 1 ? depth : top;
}

/* Loads the rules above, from the top down, and visits the root with them. */
static int
visit_root(struct walker *w)
{
    struct walk_rules rules[PATH_MAX / 2];
    size_t ends[PATH_MAX / 2];
    const int depth = folders_above(w, ends);
    int loaded = 0, result = depth < 0 ? -1 : 0;
    struct path path = {0};

    for (; result == 0 && loaded < depth; loaded++) {
        path.size = 0;
        if (!push_name(&path, w->real.text)) {
            result = -1;
            break;
        }
        cut_path(&path, ends[depth - 1 - loaded]);
        if (!load_rules(&path, loaded > 0 ? &rules[loaded - 1] : NULL, &rules[loaded]))
            result = -1;
    }
    if (result == 0)
        result = visit_folder(w, depth > 0 ? &rules[depth - 1] : NULL);
    while (loaded-- > 0)
        free_rules(&rules[loaded]);
    free(path.text);
    return result;
}

int
walk_visit(const struct walk *walk, const char *root)
{
    struct walker w = {.walk = walk};
    char real[PATH_MAX];
    struct stat info;

    if (stat(root, &info) != 0 || realpath(root, real) == NULL)
        return walk->error(walk->user, root, errno);
    if (S_ISREG(info.st_mode))
        return walk->file(walk->user, root, (uint64_t)info.st_size);
    if (!S_ISDIR(info.st_mode))
        return walk->error(walk->user, root, EINVAL);
    const char *const shown = strcmp(root, ".") == 0 ? "" : root;
    const int result = push_name(&w.real, real) && push_name(&w.shown, shown) ? visit_root(&w) : -1;
    free(w.real.text);
    free(w.shown.text);
    return result;
}
