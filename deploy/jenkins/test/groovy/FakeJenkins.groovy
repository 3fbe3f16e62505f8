import com.lesfurets.jenkins.unit.BasePipelineTest
import com.lesfurets.jenkins.unit.global.lib.SourceRetriever

import static com.lesfurets.jenkins.unit.global.lib.LibraryConfiguration.library

/** Thrown by `error`. */
class BuildFailed extends Exception {
    BuildFailed(String message) {
        super(message)
    }
}

/** Thrown by an aborted step. */
class Aborted extends Exception {
    Aborted() {
        super('aborted')
    }
}

/**
 * A simulated Jenkins with one agent that records its steps. `sh` runs its script with the environment of `withEnv`, in a
 * workspace whose `atq` records its arguments.
 */
abstract class FakeJenkins extends BasePipelineTest {
    static final File LIBRARY = new File('.').canonicalFile
    static final String SECRET = 'S3cret' * 7 + 'x'
    static final String TOKEN = "atq_01020304ff_${SECRET}"

    File home
    File workspace
    List<Map> environments = []
    /** The secrets that Jenkins has, by id. */
    Map credentials = ['atq-token': TOKEN, 'atq-ca': 'PEM', 'shop-load-test': 'a $ecret "pass" word']
    List<List> published = []
    List<String> scripts = []
    List<String> messages = []
    List<String> timeouts = []
    String result
    boolean abort

    void open() {
        home = File.createTempDir('atq-jenkins-', '')
        workspace = new File(home, 'work space')
        workspace.mkdirs()
        helper.baseScriptRoot = LIBRARY.path
        helper.scriptRoots = ['.'] as String[]
        helper.scriptExtension = ''
        setUp()
        binding.setVariable('env', [JOB_NAME: 'shop', BUILD_NUMBER: '17'])
        binding.setVariable('scm', [:])
        environments.add([PATH: "${home}/bin:${System.getenv('PATH')}".toString(), HOME: home.path])
        program('atq')
        registerSteps()
    }

    void close() {
        home.deleteDir()
    }

    /** Creates a program that records its arguments and writes a report like `atq`. */
    File program(String name, String text = '') {
        File file = new File(home, "bin/${name}")
        file.parentFile.mkdirs()
        file.text = """#!/bin/sh
echo "\$1" >>'${home}/commands'
[ "\$1" = run ] || { printf '%s\\n' "\$@" >'${home}/stopped'; exit 0; }
printf '%s\\0' "\$@" >'${home}/arguments'
printf '%s\\n' "\${ATQ_TOKEN-}" "\${ATQ_CA-}" >'${home}/access'
${text}
for argument; do
  case \$argument in --results=*) : >"\${argument#*=}/report.html" ;; esac
done
exit "\$(cat '${home}/code' 2>/dev/null || echo 0)"
"""
        file.executable = true
        return file
    }

    void endsWith(int code) {
        new File(home, 'code').text = code
    }

    /** The arguments of `run`. */
    List<String> arguments() {
        String text = new File(home, 'arguments').text
        return text.substring(0, text.length() - 1).split('\0', -1) as List
    }

    /** The values of ATQ_TOKEN and ATQ_CA that `run` had. */
    List<String> access() {
        return new File(home, 'access').readLines()
    }

    /** The commands of `atq` that were called. */
    List<String> commands() {
        File file = new File(home, 'commands')
        return file.exists() ? file.readLines() : []
    }

    Object step(Map parameters) {
        return loadScript('vars/atqLoadTest.groovy').call(parameters)
    }

    // ------------------------------------------------------------ steps of Jenkins

    private void registerSteps() {
        // In closures, the delegate is the running script.
        FakeJenkins me = this
        me.helper.registerAllowedMethod('withEnv', [List, Closure]) { List items, Closure body ->
            me.environments.add(me.expanded(items))
            try {
                me.helper.callClosure(body)
            } finally {
                me.environments.pop()
            }
        }
        me.helper.registerAllowedMethod('string', [Map]) { Map call -> call }
        me.helper.registerAllowedMethod('file', [Map]) { Map call -> call + [path: "${me.home}/secret-file".toString()] }
        me.helper.registerAllowedMethod('withCredentials', [List, Closure]) { List all, Closure body ->
            me.environments.add(me.environments.last() + me.bound(all))
            try {
                me.helper.callClosure(body)
            } finally {
                me.environments.pop()
            }
        }
        me.helper.registerAllowedMethod('sh', [Map]) { Map call -> me.shell(call) }
        me.helper.registerAllowedMethod('timeout', [Map, Closure]) { Map call, Closure body ->
            me.timeouts.add("${call.time} ${call.unit}".toString())
            me.helper.callClosure(body)
        }
        me.helper.registerAllowedMethod('error', [String]) { String message -> throw new BuildFailed(message) }
        me.helper.registerAllowedMethod('unstable', [String]) { String message ->
            me.messages.add(message)
            me.result = 'UNSTABLE'
        }
        me.helper.registerAllowedMethod('echo', [String]) { String message -> me.messages.add(message) }
        me.helper.registerAllowedMethod('pwd', [Map]) { Map call -> me.home.path }
        me.helper.registerAllowedMethod('fileExists', [String]) { String path -> new File(me.workspace, path).exists() }
        me.helper.registerAllowedMethod('writeFile', [Map]) { Map call -> new File(call.file.toString()).text = call.text }
        me.helper.registerAllowedMethod('libraryResource', [String]) { String path ->
            new File(LIBRARY, "resources/${path}").text
        }
        me.helper.registerAllowedMethod('junit', [Map]) { Map call -> me.published.add(['junit', call]) }
        me.helper.registerAllowedMethod('archiveArtifacts', [Map]) { Map call -> me.published.add(['archive', call]) }
        withHtmlPublisher { Map call -> me.published.add(['html', call.target]) }
    }

    /** The variables of credentials. */
    Map bound(List all) {
        Map variables = [:]
        for (Map credential : all) {
            assert credentials.containsKey(credential.credentialsId) : "no credential ${credential.credentialsId}"
            variables[credential.variable.toString()] = credential.path ?: credentials[credential.credentialsId]
        }
        return variables
    }

    void withHtmlPublisher(Closure body) {
        helper.registerAllowedMethod('publishHTML', [Map], body)
    }

    /** Expands variables like EnvVars: `$NAME` if NAME is known, and `$$` to `$`. */
    Map expanded(List items) {
        Map known = environments.last()
        Map more = [:]
        for (Object item : items) {
            int at = item.toString().indexOf('=')
            String value = item.toString().substring(at + 1)
            more[item.toString().substring(0, at)] = value.replaceAll(/\$(\w+|\{[\w.]+\}|\$)/) { String all, String name ->
                name == '$' ? '$' : known.containsKey(name.replaceAll(/[{}]/, '')) ? known[name.replaceAll(/[{}]/, '')] : all
            }
        }
        return known + more
    }

    int shell(Map call) {
        assert call.returnStatus : 'without it, Jenkins fails the build itself'
        scripts.add(call.script.toString())
        if (abort) {
            abort = false
            throw new Aborted()
        }
        File script = new File(home, 'script.sh')
        script.text = call.script
        // Like the step `sh`.
        ProcessBuilder builder = new ProcessBuilder('sh', '-xe', script.path).directory(workspace)
        builder.environment().clear()
        builder.environment().putAll(environments.last())
        File output = new File(home, 'output')
        builder.redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.appendTo(output))
        return builder.start().waitFor()
    }

    String output() {
        return new File(home, 'output').text
    }

    // ------------------------------------------------------------ whole pipelines

    /** Registers this library for `@Library('atq')`, and the blocks of declarative pipelines. */
    void registerPipeline() {
        FakeJenkins me = this
        SourceRetriever source = [retrieve: { String repository, String branch, String path ->
            [LIBRARY.toURI().toURL()]
        }] as SourceRetriever
        me.helper.registerSharedLibrary(library().name('atq').defaultVersion('main').allowOverride(true).implicit(false)
            .targetPath('.').retriever(source).build())
        for (String block : ['pipeline', 'agent', 'options', 'environment', 'stages', 'steps', 'post', 'always']) {
            me.helper.registerAllowedMethod(block, [Closure]) { Closure body -> me.helper.callClosure(body) }
        }
        me.helper.registerAllowedMethod('agent', [Closure]) { Closure body -> }
        me.helper.registerAllowedMethod('timeout', [Map]) { Map call -> me.timeouts.add("${call.time} ${call.unit}".toString()) }
        me.helper.registerAllowedMethod('stage', [String, Closure]) { String name, Closure body -> me.helper.callClosure(body) }
        me.helper.registerAllowedMethod('node', [String, Closure]) { String label, Closure body -> me.helper.callClosure(body) }
        me.helper.registerAllowedMethod('checkout', [Object]) { Object what -> }
    }
}
