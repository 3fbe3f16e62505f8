package atq

import com.cloudbees.groovy.cps.NonCPS

/**
 * The logic of the step that does not need Jenkins: validation of parameters, scripts to run, meaning of exit codes.
 *
 * Values are never part of a script. Each one is an environment variable that the script references in quotes.
 */
class LoadTest implements Serializable {
    private static final long serialVersionUID = 1

    /** The parameters and their kinds. */
    static final Map<String, String> PARAMETERS = [
        task: 'text', bundle: 'text', criteria: 'list', set: 'pairs', env: 'pairs', envFrom: 'list', name: 'text',
        url: 'text', timeout: 'text', results: 'text', replace: 'flag', follow: 'flag', client: 'text', atq: 'text',
        failBuild: 'flag', credentialsId: 'text', ca: 'text',
    ]

    /** The exit codes of `atq`, each with an identifier and a description. */
    static final Map<Integer, List<String>> CODES = [
        0: ['pass', 'the test passed'],
        1: ['fail', 'a criterion of the test does not hold'],
        2: ['usage', 'the command line, or a file that it names, cannot be used'],
        3: ['toolFailed', "the test tool failed: the master's exit code is not 0"],
        4: ['infrastructureFailed', 'the test could not be run'],
        5: ['timedOut', 'the test exceeded a time limit'],
        6: ['stopped', 'the test was stopped, or left running'],
        7: ['invalid', 'the test is inconclusive: a worker was lost, too few samples, ...'],
        8: ['rejected', 'the Director rejected the request'],
        9: ['unreachable', 'the Director does not respond'],
        10: ['accessDenied', 'access denied: the token is missing or not accepted, or its role is not sufficient'],
    ]

    /** The default of `results`. */
    static final String RESULTS = 'atq-results'
    private static final String TASK_NAME = '[A-Za-z0-9][A-Za-z0-9_-]{1,43}[A-Za-z0-9]'
    private static final String VARIABLE = '[A-Za-z_][A-Za-z0-9_]*'
    /** No component is `.` or `..`, and none begins with `-`. */
    private static final String RELATIVE_PATH = '((?!\\.{1,2}(/|$))[A-Za-z0-9._][A-Za-z0-9._-]*(/|$))+'
    private static final int LONGEST_NAME = 45

    // ------------------------------------------------------------ parameters

    /** All faults of the parameters. */
    @NonCPS
    static List<String> faults(Map given) {
        List<String> faults = []
        for (Map.Entry entry : given.entrySet()) {
            String kind = PARAMETERS[entry.key.toString()]
            String fault = kind == null ? unknown(entry.key.toString()) : kindFault(entry.key, kind, entry.value)
            if (fault != null) {
                faults.add(fault)
            }
        }
        if (faults.isEmpty()) {
            faults.addAll(valueFaults(given))
        }
        return faults
    }

    @NonCPS
    private static String unknown(String name) {
        return "unknown parameter `${name}`; known parameters: ${PARAMETERS.keySet().join(', ')}".toString()
    }

    /** The fault if the value has the wrong kind, else null. A null value counts as absent. */
    @NonCPS
    private static String kindFault(Object name, String kind, Object value) {
        if (value == null) {
            return null
        }
        if (kind == 'text') {
            return isText(value) ? null : "`${name}` is ${describe(value)}; expected text".toString()
        }
        if (kind == 'flag') {
            return value instanceof Boolean ? null : "`${name}` is ${describe(value)}; expected true or false".toString()
        }
        if (kind == 'pairs' && value instanceof Map) {
            return pairsFault(name, value)
        }
        List items = value instanceof List ? value : [value]
        for (Object item : items) {
            if (!isText(item)) {
                String wanted = kind == 'pairs' ? "a map, or a list of 'name=value'" : 'text, or a list of texts'
                return "`${name}` has ${describe(item)}; expected ${wanted}".toString()
            }
        }
        return null
    }

    @NonCPS
    private static String pairsFault(Object name, Map pairs) {
        for (Map.Entry pair : pairs.entrySet()) {
            Object value = pair.value
            if (!isText(value) && !(value instanceof Number) && !(value instanceof Boolean)) {
                return "`${pair.key}` of `${name}` is ${describe(value)}; expected text, a number, true or false".toString()
            }
        }
        return null
    }

    @NonCPS
    private static boolean isText(Object value) {
        return value instanceof CharSequence
    }

    @NonCPS
    private static String describe(Object value) {
        if (value == null) {
            return 'null'
        }
        return value instanceof Map ? 'a map' : value instanceof List ? 'a list' : "`${value}`".toString()
    }

    /** Faults of values of the correct kind. */
    @NonCPS
    private static List<String> valueFaults(Map given) {
        List<String> faults = []
        String task = text(given.task)
        if (!task) {
            faults.add("`task` is missing: the path of the test's definition".toString())
        } else if (task.startsWith('-')) {
            faults.add("`task` is `${task}`; expected the path of a file, which does not begin with `-`".toString())
        }
        expect(faults, 'name', text(given.name), TASK_NAME,
            '3 to 45 letters, digits, `-` and `_`, the first and the last one a letter or a digit')
        expect(faults, 'timeout', text(given.timeout), '([0-9]+ *[a-z]+ *)+', 'a number with a unit, for example `30m`')
        expect(faults, 'client', text(given.client), 'atq|curl', '`atq` or `curl`')
        expect(faults, 'credentialsId', text(given.credentialsId), '[A-Za-z0-9_.:/-]+', 'the id of a secret text in Jenkins')
        expect(faults, 'results', text(given.results), RELATIVE_PATH,
            'a directory in the workspace, of letters, digits and `._/-`')
        for (String parameter : ['set', 'env']) {
            for (String pair : pairs(given[parameter])) {
                String name = pair.contains('=') ? pair.substring(0, pair.indexOf('=')) : null
                if (name == null) {
                    // The text is not shown: it may be a password without its name.
                    faults.add("an item of `${parameter}` has no `=`; expected 'name=value'".toString())
                } else {
                    expect(faults, "a name in ${parameter}", name, parameter == 'env' ? VARIABLE : '[^=]+',
                        parameter == 'env' ? 'the name of a variable' : 'a field, for example `worker.replicas`')
                }
            }
        }
        for (String name : texts(given.envFrom)) {
            expect(faults, 'a name in envFrom', name, VARIABLE, "the name of a variable of the build's environment")
        }
        faults.addAll(unprintable(given))
        return faults
    }

    @NonCPS
    private static void expect(List<String> faults, String what, String value, String pattern, String wanted) {
        if (value != null && !value.matches(pattern)) {
            faults.add("`${what}` is `${value}`; expected ${wanted}".toString())
        }
    }

    /** Environment variables cannot contain NUL characters. */
    @NonCPS
    private static List<String> unprintable(Map given) {
        List<String> faults = []
        for (Map.Entry entry : given.entrySet()) {
            if (entry.value != null && entry.value.toString().indexOf(0 as int) >= 0) {
                faults.add("`${entry.key}` contains a NUL character".toString())
            }
        }
        return faults
    }

    @NonCPS
    private static String text(Object value) {
        return value == null ? null : value.toString()
    }

    @NonCPS
    private static List<String> texts(Object value) {
        List<String> texts = []
        for (Object item : (value == null ? [] : value instanceof List ? value : [value])) {
            texts.add(item.toString())
        }
        return texts
    }

    @NonCPS
    private static List<String> pairs(Object value) {
        if (!(value instanceof Map)) {
            return texts(value)
        }
        List<String> pairs = []
        for (Map.Entry pair : value.entrySet()) {
            pairs.add("${pair.key}=${pair.value}".toString())
        }
        return pairs
    }

    // ------------------------------------------------------------ names

    /**
     * The name of a build's task: `<job>-<build>`. If that is not a valid task name, the name is derived from it and
     * contains a hash, so that two jobs never share a name.
     */
    @NonCPS
    static String nameOf(String job, String build) {
        String whole = "${job}-${build}"
        if (whole.matches(TASK_NAME)) {
            return whole
        }
        String end = "-${hash(whole)}-${clean(build ?: '0')}"
        end = end.length() > LONGEST_NAME - 3 ? "-${hash(whole)}" : end
        String start = clean(job ?: '')
        int room = LONGEST_NAME - end.length()
        start = clean(start.length() > room ? start.substring(0, room) : start)
        return (start.isEmpty() ? 'job' : start) + end
    }

    @NonCPS
    private static String clean(String text) {
        return text.replaceAll('[^A-Za-z0-9_-]+', '-').replaceAll('^[_-]+|[_-]+$', '')
    }

    /** Eight hexadecimal digits. Not cryptographic, but sufficient and allowed in the sandbox of Jenkins. */
    @NonCPS
    private static String hash(String text) {
        String digits = Integer.toHexString(text.hashCode())
        return '00000000'.substring(digits.length()) + digits
    }

    // ------------------------------------------------------------ scripts

    /**
     * The plan for valid parameters.
     *
     * @return `name` of the task, `results`, `client`, `failBuild`, `credentialsId` of the token or null; `environment`, a
     *     list for `withEnv`; `run` and `stop`, scripts that need this environment and ATQ_STEP_PROGRAM.
     */
    @NonCPS
    static Map plan(Map given, String job, String build) {
        String name = text(given.name) ?: nameOf(job, build)
        String results = (text(given.results) ?: RESULTS).replaceAll('/+$', '')
        List<String> values = []
        List<String> words = ['run', word(values, text(given.task))]
        addOption(words, values, '--bundle', text(given.bundle))
        addOptions(words, values, '--criterion', texts(given.criteria))
        addOptions(words, values, '--set', pairs(given.set))
        addOptions(words, values, '--env', pairs(given.env))
        for (String variable : texts(given.envFrom)) {
            words.add("--env=\"${variable}=\$${variable}\"".toString())
        }
        addOption(words, values, '--name', name)
        addOption(words, values, '--results', results)
        addOption(words, values, '--junit', results + '/junit.xml')
        addOption(words, values, '--timeout', text(given.timeout))
        addOption(words, values, '--url', text(given.url))
        if (given.replace) {
            words.add('--replace')
        }
        if (given.follow) {
            words.add('--follow')
        }
        List<String> stop = ['stop', word(values, name)]
        addOption(stop, values, '--url', text(given.url))
        boolean curl = text(given.client) == 'curl'
        return [
            name: name, results: results, client: curl ? 'curl' : 'atq', program: text(given.atq) ?: 'atq',
            failBuild: given.failBuild == null ? true : given.failBuild, credentialsId: text(given.credentialsId),
            environment: environment(values) + [variable('ATQ_STEP_RESULTS', results)] + authority(text(given.ca)),
            run: script(texts(given.envFrom), curl, words), stop: 'set +x\n' + command(curl, stop) + '\n',
        ]
    }

    /** The variable with the file of trusted certificates. */
    @NonCPS
    private static List<String> authority(String file) {
        return file ? [variable('ATQ_CA', file)] : []
    }

    @NonCPS
    private static void addOptions(List<String> words, List<String> values, String option, List<String> given) {
        for (String value : given) {
            addOption(words, values, option, value)
        }
    }

    @NonCPS
    private static void addOption(List<String> words, List<String> values, String option, String value) {
        if (value != null) {
            // With `=`, since a value may begin with `-`.
            words.add(option + '=' + word(values, value))
        }
    }

    /** Adds the value to the environment and returns the quoted reference for the script. */
    @NonCPS
    private static String word(List<String> values, String value) {
        values.add(value)
        return "\"\$ATQ_STEP_${values.size()}\"".toString()
    }

    @NonCPS
    private static List<String> environment(List<String> values) {
        List<String> environment = []
        for (int i = 0; i < values.size(); i++) {
            environment.add(variable("ATQ_STEP_${i + 1}", values[i]))
        }
        return environment
    }

    /** An item for `withEnv`, which expands `$NAME` and replaces `$$` by `$`. */
    @NonCPS
    static String variable(String name, String value) {
        return name + '=' + value.replace('$', '$$')
    }

    @NonCPS
    private static String script(List<String> variables, boolean curl, List<String> words) {
        List<String> lines = ['set +x']
        for (String name : variables) {
            lines.add("[ -n \"\${${name}+set}\" ] || { echo 'error: envFrom: the build has no variable ${name}' >&2; exit 2; }"
                .toString())
        }
        if (!curl) {
            lines.add(HAS_PROGRAM)
        }
        lines.add(PREPARE)
        lines.add('exec ' + command(curl, words))
        return lines.join('\n') + '\n'
    }

    @NonCPS
    private static String command(boolean curl, List<String> words) {
        return (curl ? 'sh ' : '') + '"$ATQ_STEP_PROGRAM" ' + words.join(' ')
    }

    private static final String HAS_PROGRAM = '''\
command -v "$ATQ_STEP_PROGRAM" >/dev/null || {
  echo "error: this agent has no program \\`$ATQ_STEP_PROGRAM\\`; install it, set its path with atq:, or use client: 'curl'" >&2
  exit 2
}'''

    /**
     * Removes results of an earlier build, which must not be published again. `.atq-files` lists the files that atq wrote,
     * in the format of sha256sum. Only these are removed, if they are unchanged and below the directory, because the list
     * may come from a repository.
     */
    private static final String PREPARE = """\
mkdir -p -- "\$ATQ_STEP_RESULTS"
if [ -f "\$ATQ_STEP_RESULTS/.atq-files" ]; then
  (
    cd -- "\$ATQ_STEP_RESULTS" && top=\$(pwd -P) || exit
    LC_ALL=C sha256sum -c .atq-files 2>/dev/null | sed -n 's/: OK\$//p' | while IFS= read -r name; do
      [ ! -L "\$name" ] || continue
      dir=\$(cd -P -- "\$(dirname -- "\$name")" && pwd) || continue
      case \$dir/ in "\$top"/*) rm -f -- "\$name" ;; esac
    done
  )
fi"""

    // ------------------------------------------------------------ exit codes

    /** Whether this is an exit code of `atq`; otherwise it was killed or crashed. */
    @NonCPS
    static boolean isKnown(Integer code) {
        return CODES.containsKey(code)
    }

    /** The identifier of the outcome. */
    @NonCPS
    static String verdict(int code) {
        return isKnown(code) ? CODES[code][0] : 'unknown'
    }

    /** The description of the outcome. */
    @NonCPS
    static String meaning(int code) {
        return isKnown(code) ? CODES[code][1] : 'the program was killed or crashed'
    }
}
