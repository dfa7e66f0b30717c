package example;

/** Tells its version, or how many processors it sees. */
public final class App {
    private App() {}

    /** Runs it. */
    public static void main(String[] args) {
        if (args.length == 1 && args[0].equals("--version")) {
            System.out.println("app 5.0 on Java " + Runtime.version().feature());
        } else {
            System.out.println(Runtime.getRuntime().availableProcessors() + " processors");
        }
    }
}
