/* Says hello to somebody; 0 if that could be written. */
int greet(const char *whom);
